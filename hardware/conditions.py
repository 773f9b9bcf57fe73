"""Conditions: what the machine did while something was measured. What it does not tell is None, never guessed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from hardware.nvml import Gpu

_CPUS = Path("/sys/devices/system/cpu")
_THROTTLES = "cpu*/thermal_throttle/*_throttle_count"


@dataclass(frozen=True)
class Conditions:
    """The machine during a window of measurements. Nothing here is ever changed by measuring.

    Attributes:
        frequency_mhz: of the processor at the end, mean over its cores.
        temperature_c: the hottest sensor of the processor at the end.
        throttled: whether the processor or the GPU slowed itself down meanwhile, for heat or power.
        governor: the frequency governors in use, comma-separated; empty where there is none.
        boost: whether the processor may exceed its base frequency.
        affinity: the hardware threads that the measuring process may use.
        load: mean number of runnable processes over the last minute, at the end.
        other_cores: cores' worth of work that other processes did meanwhile.
        stolen: share of the processors' time that a hypervisor gave to others.
        gpu_frequency_mhz: of the GPU's multiprocessors at the end.
        gpu_temperature_c: of the GPU at the end.
    """

    frequency_mhz: float | None = None
    temperature_c: float | None = None
    throttled: bool | None = None
    governor: str = ""
    boost: bool | None = None
    affinity: tuple[int, ...] = ()
    load: float | None = None
    other_cores: float | None = None
    stolen: float | None = None
    gpu_frequency_mhz: float | None = None
    gpu_temperature_c: float | None = None


@dataclass(frozen=True)
class _Counters:
    """What only grows: seconds of processor time of all cores and of this process, and throttling events."""

    busy: float
    idle: float
    steal: float
    own: float
    throttles: int | None


class Watch:
    """Watches the machine; `conditions` holds what it saw once `watching` is left."""

    def __init__(self, gpu: Gpu | None = None) -> None:
        self._gpu = gpu
        self.conditions = Conditions()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watches what happens within."""
        before = _counters()
        yield
        self.conditions = _conditions(before, _counters(), self._gpu)


def _conditions(before: _Counters, after: _Counters, gpu: Gpu | None) -> Conditions:
    """The state now, and what happened between two readings of the counters."""
    total = after.busy + after.idle - before.busy - before.idle
    own, busy, cores = after.own - before.own, after.busy - before.busy, psutil.cpu_count() or 1
    steal = after.steal - before.steal
    frequency = psutil.cpu_freq() if hasattr(psutil, "cpu_freq") else None
    throttled = None if after.throttles is None else after.throttles > (before.throttles or 0)
    return Conditions(
        frequency_mhz=frequency.current if frequency else None,
        temperature_c=_temperature(),
        throttled=(throttled or gpu.throttled()) if gpu else throttled,
        governor=",".join(sorted({_text(path) for path in _CPUS.glob("cpu*/cpufreq/scaling_governor")} - {""})),
        boost=_boost(),
        affinity=tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else (),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        other_cores=round(max(busy - steal - own, 0.0) / total * cores, 3) if total > 0 else None,
        stolen=round(steal / total, 4) if total > 0 else None,
        gpu_frequency_mhz=gpu.frequency_mhz() if gpu else None,
        gpu_temperature_c=gpu.temperature_c() if gpu else None,
    )


def _counters() -> _Counters:
    """The counters now."""
    times, own = psutil.cpu_times(), psutil.Process().cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    guest = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    counts = [int(text) for path in _CPUS.glob(_THROTTLES) if (text := _text(path)).isdigit()]
    return _Counters(
        busy=sum(times) - idle - guest,
        idle=idle,
        steal=getattr(times, "steal", 0.0),
        own=own.user + own.system,
        throttles=sum(counts) if counts else None,
    )


def _temperature() -> float | None:
    """The hottest of the processor's sensors."""
    read: dict[str, list[Any]] = getattr(psutil, "sensors_temperatures", dict)()
    names = [name for name in ("coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal") if name in read]
    return max((sensor.current for name in names for sensor in read[name]), default=None)


def _boost() -> bool | None:
    """Whether frequencies above the base are allowed, as the driver in use tells it."""
    allowed, forbidden = _text(_CPUS / "cpufreq/boost"), _text(_CPUS / "intel_pstate/no_turbo")
    if allowed in ("0", "1"):
        return allowed == "1"
    return forbidden == "0" if forbidden in ("0", "1") else None


def _text(path: Path) -> str:
    """The text of a system file; empty if it cannot be read."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
