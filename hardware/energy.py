"""Energy: meters that the machine has. Where it has none, or lets nobody read it, the reason; never an estimate."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from hardware.nvml import Gpu, first_gpu

_POWERCAP = Path("/sys/class/powercap")
_MICRO = 1e-6


class Meter(Protocol):
    """A counter of energy."""

    name: str

    def joules(self) -> float:
        """What has been drawn since some moment; only differences mean something."""


class Rapl:
    """Running average power limit: the processor packages' own counters, which wrap around."""

    name = "RAPL, processor packages"

    def __init__(self, folder: Path) -> None:
        """Opens the counters of all packages.

        Raises:
            OSError: there are none, or they cannot be read.
        """
        packages = sorted(f for f in folder.glob("*-rapl:*") if f.name.count(":") == 1 and _is_package(f))
        if not packages:
            raise OSError(f"{folder} has no counters of processor packages")
        self._files = [package / "energy_uj" for package in packages]
        self._ranges = [int((package / "max_energy_range_uj").read_text()) for package in packages]
        self._last = [int(file.read_text()) for file in self._files]
        self._total = 0

    def joules(self) -> float:
        """Of all packages together; must be read before a counter has gone round twice (minutes)."""
        for index, file in enumerate(self._files):
            now = int(file.read_text())
            self._total += (now - self._last[index]) % (self._ranges[index] + 1)
            self._last[index] = now
        return self._total * _MICRO


class GpuMeter:
    """The GPU's own counter."""

    name = "NVML, whole GPU"

    def __init__(self, gpu: Gpu | None) -> None:
        """Opens the counter.

        Raises:
            OSError: there is no GPU, or it does not count.
        """
        if gpu is None:
            raise OSError("the NVIDIA management library finds no GPU")
        if gpu.joules() is None:
            raise OSError("the GPU does not count energy")
        self._gpu, self._last = gpu, 0.0

    def joules(self) -> float:
        """Of the whole GPU."""
        self._last = self._gpu.joules() or self._last
        return self._last


def processor_meter() -> Meter | str:
    """The meter of the processor, or why it cannot be used."""
    try:
        return Rapl(_POWERCAP)
    except OSError as error:
        return f"energy of the processor is unavailable: {error}"
    except ValueError as error:
        return f"energy of the processor is unavailable: {error} in {_POWERCAP}"


def gpu_meter() -> Meter | str:
    """The meter of the first GPU, or why it cannot be used."""
    try:
        return GpuMeter(first_gpu())
    except OSError as error:
        return f"energy of the GPU is unavailable: {error}"


def _is_package(folder: Path) -> bool:
    """Whether this domain is a whole package, rather than memory or the whole board, which overlap with it."""
    return (folder / "name").read_text().strip().startswith("package")
