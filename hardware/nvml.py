"""NVIDIA's management library: clocks, temperature, throttling and energy of a GPU. Read only."""

from __future__ import annotations

import ctypes
import os
from ctypes import byref, c_uint, c_ulonglong, c_void_p
from functools import cache
from typing import Any

_LIBRARY = "libnvidia-ml.so.1"
_SM_CLOCK = 1
_TEMPERATURE = 0
_SLOWDOWNS = 0x4 | 0x8 | 0x20 | 0x40 | 0x80
"""Power cap, hardware slowdown, software and hardware thermal slowdown, power brake (nvml.h, ClocksThrottleReasons)."""


class Gpu:
    """One GPU. A figure that the driver does not tell is None."""

    def __init__(self, library: Any, handle: c_void_p) -> None:
        self._library, self._handle = library, handle

    def frequency_mhz(self) -> float | None:
        """Of the multiprocessors."""
        return self._ask("nvmlDeviceGetClockInfo", c_uint(), _SM_CLOCK)

    def temperature_c(self) -> float | None:
        """Of the chip."""
        return self._ask("nvmlDeviceGetTemperature", c_uint(), _TEMPERATURE)

    def throttled(self) -> bool | None:
        """Whether it slows itself down at this moment, for heat or power."""
        reasons = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons", c_ulonglong())
        return None if reasons is None else bool(int(reasons) & _SLOWDOWNS)

    def joules(self) -> float | None:
        """Energy since the driver was loaded; known from the Volta generation on."""
        millijoules = self._ask("nvmlDeviceGetTotalEnergyConsumption", c_ulonglong())
        return None if millijoules is None else millijoules / 1e3

    def _ask(self, function: str, answer: c_uint | c_ulonglong, *arguments: int) -> float | None:
        """The answer of one of the library's functions."""
        try:
            code = getattr(self._library, function)(self._handle, *arguments, byref(answer))
        except AttributeError:
            return None
        return answer.value if code == 0 else None


@cache
def first_gpu() -> Gpu | None:
    """The first GPU that CUDA programs see; None where there is none, or no driver."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0].strip()
    try:
        return opened(ctypes.CDLL(_LIBRARY), visible)
    except OSError:
        return None


def opened(library: Any, visible: str) -> Gpu | None:
    """The GPU of an index in the order of the bus, or of a UUID that may be cut short."""
    if library.nvmlInit_v2() != 0:
        return None
    handle = c_void_p()
    if visible.isdigit():
        code = library.nvmlDeviceGetHandleByIndex_v2(c_uint(int(visible)), byref(handle))
    else:
        code = library.nvmlDeviceGetHandleByUUID(visible.encode(), byref(handle))
    return Gpu(library, handle) if code == 0 else None
