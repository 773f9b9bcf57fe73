"""Device: which machine this is, as far as latency depends on it."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

_CPU = Path("/sys/devices/system/cpu/cpu0")
_CPUINFO = Path("/proc/cpuinfo")
_RELEVANT = re.compile(
    r"fma|f16c|avx|avx2|avx_vnni|avx512(f|bw|vl|_vnni|_bf16|_fp16)|amx_(tile|int8|bf16)|"
    r"neon|asimd|asimddp|asimdhp|i8mm|bf16|sve2?"
)
_PACKAGES = ("torch", "onnxruntime", "openvino", "nncf", "executorch", "numpy")


@dataclass(frozen=True)
class Device:
    """A machine and its runtimes. Unknown facts are empty, never guessed.

    Attributes:
        cpu: model name of the processor.
        physical_cores: cores; 0 if unknown.
        logical_cores: hardware threads this process may use.
        caches: (name, size) of the first core's caches, e.g. ("L2", "1024K").
        instruction_sets: those that matter to kernels, sorted.
        governor: frequency governor of the first core.
        memory_bytes: main memory.
        os: system and machine type.
        kernel: release of the system.
        python: version of the interpreter.
        versions: (package, version) of the runtimes that are installed.
        gpus: names of the graphics processors.
    """

    cpu: str
    physical_cores: int
    logical_cores: int
    caches: tuple[tuple[str, str], ...]
    instruction_sets: tuple[str, ...]
    governor: str
    memory_bytes: int
    os: str
    kernel: str
    python: str
    versions: tuple[tuple[str, str], ...]
    gpus: tuple[str, ...]

    @classmethod
    def here(cls) -> Device:
        """The machine that this process runs on; read once."""
        return _here()

    def version(self, package: str) -> str:
        """The version of a runtime; empty if it is not installed."""
        return dict(self.versions).get(package, "")

    def key(self, runtimes: Sequence[str] = _PACKAGES, **settings: Any) -> str:
        """A stable JSON text: equal keys mean that latencies may be reused.

        Args:
            runtimes: the packages whose version matters.
            settings: further JSON facts, such as threads and batch size.
        """
        facts = {
            name: value for name, value in asdict(self).items() if name not in ("memory_bytes", "kernel", "versions")
        }
        versions = {name: self.version(name) for name in runtimes}
        return json.dumps({**facts, "versions": versions, **settings}, sort_keys=True)

    def describe(self) -> dict[str, Any]:
        """Plain JSON data for reports."""
        return {**asdict(self), "versions": dict(self.versions), "caches": dict(self.caches)}


@cache
def _here() -> Device:
    """The machine that this process runs on."""
    cpuinfo = _cpuinfo()
    return Device(
        cpu=cpuinfo.get("model name") or platform.processor() or platform.machine(),
        physical_cores=psutil.cpu_count(logical=False) or 0,
        logical_cores=_usable_cores(),
        caches=_caches(),
        instruction_sets=_instruction_sets(cpuinfo.get("flags") or cpuinfo.get("Features") or ""),
        governor=_read(_CPU / "cpufreq/scaling_governor"),
        memory_bytes=psutil.virtual_memory().total,
        os=f"{platform.system()} {platform.machine()}",
        kernel=platform.release(),
        python=platform.python_version(),
        versions=_versions(),
        gpus=_gpus(),
    )


def _cpuinfo() -> dict[str, str]:
    """The first processor's entry in /proc/cpuinfo; empty where there is none."""
    first = _read(_CPUINFO).partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _usable_cores() -> int:
    """Hardware threads that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usable_processor_cores() -> int:
    """Cores whose units this process need not share with itself; hardware threads of one core count once."""
    return max(1, min(psutil.cpu_count(logical=False) or 1, _usable_cores()))


def _instruction_sets(flags: str) -> tuple[str, ...]:
    """The flags that matter to kernels."""
    return tuple(sorted(flag for flag in flags.split() if _RELEVANT.fullmatch(flag)))


def _caches() -> tuple[tuple[str, str], ...]:
    """Name and size of each cache of the first core."""
    folders = sorted((_CPU / "cache").glob("index*"))
    names = {"Data": "d", "Instruction": "i", "Unified": ""}
    return tuple((f"L{_read(f / 'level')}{names.get(_read(f / 'type'), '')}", _read(f / "size")) for f in folders)


def _versions() -> tuple[tuple[str, str], ...]:
    """The runtimes that are installed, without importing them."""
    found = []
    for package in _PACKAGES:
        try:
            found.append((package, metadata.version(package)))
        except metadata.PackageNotFoundError:
            continue
    return tuple(found)


def _gpus() -> tuple[str, ...]:
    """Names of NVIDIA graphics processors, as their driver's tool lists them."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    query = [tool, "--query-gpu=name", "--format=csv,noheader"]
    try:
        listed = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(line.strip() for line in listed.splitlines() if line.strip())


def _read(path: Path) -> str:
    """The text of a system file; empty if it cannot be read."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
