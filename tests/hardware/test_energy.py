"""Meters of energy, on counters that the test makes up."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from hardware import energy, nvml
from hardware.energy import GpuMeter, Rapl, gpu_meter, processor_meter
from hardware.nvml import Gpu, opened


def domain(folder: Path, name: str, kind: str, microjoules: int, span: int = 999_999) -> Path:
    """A counter as the kernel shows it."""
    path = folder / name
    path.mkdir(parents=True)
    (path / "name").write_text(f"{kind}\n")
    (path / "energy_uj").write_text(f"{microjoules}\n")
    (path / "max_energy_range_uj").write_text(f"{span}\n")
    return path / "energy_uj"


def test_packages_are_added_and_what_they_hold_is_not_counted_twice(tmp_path: Path) -> None:
    first = domain(tmp_path, "intel-rapl:0", "package-0", 100)
    domain(tmp_path, "intel-rapl:0:0", "core", 5)
    second = domain(tmp_path, "intel-rapl:1", "package-1", 300)
    domain(tmp_path, "intel-rapl:2", "psys", 5)
    meter = Rapl(tmp_path)
    assert meter.joules() == 0.0
    first.write_text("1100")
    second.write_text("2300")
    assert meter.joules() == pytest.approx(3000e-6)


def test_a_counter_that_went_round_goes_on(tmp_path: Path) -> None:
    counter = domain(tmp_path, "intel-rapl:0", "package-0", 999_990)
    meter = Rapl(tmp_path)
    counter.write_text("10")
    assert meter.joules() == pytest.approx(20e-6)
    counter.write_text("30")
    assert meter.joules() == pytest.approx(40e-6)


def test_without_counters_the_reason_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "_POWERCAP", tmp_path / "absent")
    assert "has no counters" in str(processor_meter())
    monkeypatch.setattr(energy, "first_gpu", lambda: None)
    assert "finds no GPU" in str(gpu_meter())


def test_counters_that_need_another_user_are_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    domain(tmp_path, "intel-rapl:0", "package-0", 1)
    read = Path.read_text

    def refused(path: Path) -> str:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_text", refused)
    monkeypatch.setattr(energy, "_POWERCAP", tmp_path)
    assert "Permission denied" in str(processor_meter())


class Library:
    """The management library of a machine with one GPU."""

    def __init__(self, reasons: int = 0, energy: int | None = 5_000) -> None:
        self.reasons, self.energy = reasons, energy
        self.asked: list[object] = []

    def nvmlInit_v2(self) -> int:
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: ctypes.c_uint, handle: object) -> int:
        self.asked.append(index.value)
        return 0 if index.value == 0 else 6

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes, handle: object) -> int:
        self.asked.append(uuid)
        return 0

    def nvmlDeviceGetClockInfo(self, handle: object, kind: int, answer: object) -> int:
        return _answer(answer, 1980)

    def nvmlDeviceGetTemperature(self, handle: object, kind: int, answer: object) -> int:
        return _answer(answer, 41)

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: object, answer: object) -> int:
        return _answer(answer, self.reasons)

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: object, answer: object) -> int:
        return 3 if self.energy is None else _answer(answer, self.energy)


def _answer(reference: object, value: int) -> int:
    reference._obj.value = value  # type: ignore[attr-defined]
    return 0


def gpu(library: Library, visible: str = "0") -> Gpu:
    found = opened(library, visible)
    assert found is not None
    return found


def test_a_gpu_tells_its_clock_temperature_and_energy() -> None:
    found = gpu(Library())
    assert (found.frequency_mhz(), found.temperature_c(), found.joules()) == (1980, 41, 5.0)


@pytest.mark.parametrize(
    ("reasons", "throttled"), [(0x0, False), (0x1, False), (0x4, True), (0x20, True), (0x1 | 0x40, True)]
)
def test_idling_is_no_throttling(reasons: int, throttled: bool) -> None:
    assert gpu(Library(reasons)).throttled() is throttled


def test_the_gpu_is_the_one_that_cuda_programs_see() -> None:
    library = Library()
    gpu(library, "GPU-1234")
    assert library.asked == [b"GPU-1234"]
    assert opened(library, "3") is None


def test_a_gpu_that_does_not_count_energy_has_no_meter(monkeypatch: pytest.MonkeyPatch) -> None:
    assert GpuMeter(gpu(Library())).joules() == 5.0
    monkeypatch.setattr(energy, "first_gpu", lambda: gpu(Library(energy=None)))
    assert "does not count energy" in str(gpu_meter())


def test_a_machine_without_the_driver_has_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "_LIBRARY", "libabsent.so.9")
    assert nvml.first_gpu.__wrapped__() is None
