"""Memory: how much a program needs, on the processor's side and on a GPU; and a limit that keeps the machine alive."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import psutil

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
_CGROUP = Path("/sys/fs/cgroup")
_SHARE = 0.9

T = TypeVar("T")


def peak_of(action: Callable[[], T]) -> tuple[T, int | None, int | None]:
    """What an action returns, and the greatest memory at once during it, over what was there before, in bytes.

    Returns:
        The result; resident memory of this process, None where the system does not tell; memory that torch allocated on
        the current GPU, None where torch uses none. What the action keeps counts as well as what it gives back, and
        what earlier programs gave back is returned to the system first, so that it cannot be used again unseen.
    """
    before, on_gpu = _start(), _gpu_start()
    result = action()
    host = None if before is None or (peak := _status("VmHWM")) is None else max(peak - before, 0)
    cuda = _cuda()
    device = None if cuda is None else cuda.max_memory_allocated() - (on_gpu or 0)
    return result, host, device


def limit_memory() -> None:
    """Lets this process allocate most of what is free now, so that a greedy program fails instead of the machine.

    Counts private writable memory (RLIMIT_DATA on Linux). Not where torch uses a GPU, whose driver maps far more than
    it uses.
    """
    data = _status("VmData")
    if data is None or _cuda() is not None:
        return
    import resource

    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    limit = data + int(_SHARE * free_bytes())
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def free_bytes() -> int:
    """Memory that can be had without swapping, within the control group's limit where there is one."""
    free = psutil.virtual_memory().available
    limit, used = (_number(_CGROUP / f"memory.{name}") for name in ("max", "current"))
    return free if limit is None or used is None else max(min(free, limit - used), 0)


def _start() -> int | None:
    """Resident memory now, with the record of the peak begun anew."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
    try:
        _CLEAR_REFS.write_text(_RESET_PEAK)
    except OSError:
        return None
    return _status("VmRSS")


def _gpu_start() -> int | None:
    """Allocated GPU memory now, with the record of the peak begun anew."""
    cuda = _cuda()
    if cuda is None:
        return None
    cuda.reset_peak_memory_stats()
    return int(cuda.memory_allocated())


def _cuda() -> Any:
    """torch's GPU module where it is in use; None elsewhere."""
    torch: Any = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None


def _status(name: str) -> int | None:
    """Bytes that the kernel notes for this process under a name."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return int(found[0]) * 1024 if found else None


def _number(path: Path) -> int | None:
    """The number in a system file; None where there is none."""
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
