"""Device: what it is called, and when latencies may be reused."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from hardware import device
from hardware.device import Device

HERE = Device.here()


def test_the_key_is_stable_json_across_processes() -> None:
    program = (
        "from hardware.device import Device; import sys; print(Device.here().key()); assert 'torch' not in sys.modules"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == HERE.key()
    assert json.loads(HERE.key())["cpu"] == HERE.cpu


@pytest.mark.parametrize(
    "change",
    [
        {"cpu": "another"},
        {"governor": "powersave"},
        {"instruction_sets": ()},
        {"logical_cores": 99},
        {"versions": (("torch", "0"),)},
        {"caches": (("L2", "1K"),)},
    ],
)
def test_what_latency_depends_on_changes_the_key(change: dict[str, object]) -> None:
    assert dataclasses.replace(HERE, **change).key(["torch"]) != HERE.key(["torch"])  # type: ignore[arg-type]


def test_what_latency_does_not_depend_on_leaves_the_key() -> None:
    other = dataclasses.replace(HERE, memory_bytes=1, kernel="0", versions=(*HERE.versions, ("other", "1")))
    assert other.key(["torch"]) == HERE.key(["torch"])


def test_settings_and_runtimes_are_in_the_key() -> None:
    keys = {HERE.key(["torch"]), HERE.key(["numpy"]), HERE.key(["torch"], threads=1), HERE.key(["torch"], threads=2)}
    assert len(keys) == 4


def test_versions_are_those_of_the_packages() -> None:
    import numpy

    assert HERE.version("numpy") == numpy.__version__
    assert HERE.version("absent") == ""
    assert json.dumps(HERE.describe())


def test_instruction_sets_that_matter_are_kept() -> None:
    assert device._instruction_sets("fpu sse avx2 avx512f avx512_vnni avx512cd amx_int8") == (
        "amx_int8",
        "avx2",
        "avx512_vnni",
        "avx512f",
    )


def test_a_system_without_these_files_is_described_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_CPUINFO", Path("/nonexistent"))
    monkeypatch.setattr(device, "_CPU", Path("/nonexistent"))
    elsewhere = device._here.__wrapped__()
    assert elsewhere.cpu
    assert elsewhere.caches == ()
    assert elsewhere.instruction_sets == ()
    assert elsewhere.governor == ""
