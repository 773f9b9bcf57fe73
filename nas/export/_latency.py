"""Latency of the files that a user gets, and what integers gain over floating point."""

from __future__ import annotations

import gc
import shutil
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

from hardware.backends._role import Backend
from hardware.timing import TimingSettings
from nas.export.onnx import Onnx
from nas.export.onnx_int8 import OnnxInt8
from nas.export.torch_export import TorchExport

_ROUNDS = 5


class IntegerGain(TypedDict):
    """Medians over rounds in which both files were measured one after the other."""

    float32_ms: float
    int8_ms: float
    speedup: float
    """Float32 over int8: above 1, integers are faster."""


def deployed_file(backend: Backend, files: list[str]) -> str | None:
    """The file that a backend runs; None if it is not there."""
    if backend.runtimes[:1] == ("torch",):
        order = [TorchExport.file]
    else:
        order = [OnnxInt8.file, Onnx.file] if backend.supports_integer else [Onnx.file]
    return next((name for name in order if name in files), None)


def integer_gain(backend: Backend, bundle: Path, settings: TimingSettings) -> IntegerGain | None:
    """What the int8 file gains over the float32 one on a backend that measures both; None where there is no such pair.

    The two are measured in turns, each in a session of its own, in alternating order.
    """
    both = all((bundle / name).exists() for name in (Onnx.file, OnnxInt8.file))
    if not (both and backend.supports_integer and backend.runtimes):
        return None
    short = replace(settings, visits=1, visit_ms=settings.visit_ms / 2, warmup_ms=settings.warmup_ms / 10)
    with tempfile.TemporaryDirectory(dir=bundle.parent, prefix=".float-") as scratch:
        shutil.copyfile(bundle / Onnx.file, Path(scratch) / Onnx.file)
        with _heap_set_aside():
            rounds = [_round(backend, Path(scratch), bundle, short, number % 2 == 0) for number in range(_ROUNDS)]
    pairs = [(float_ms, int8_ms) for float_ms, int8_ms in rounds if float_ms is not None and int8_ms is not None]
    if not pairs:
        return None
    return {
        "float32_ms": statistics.median(float_ms for float_ms, _ in pairs),
        "int8_ms": statistics.median(int8_ms for _, int8_ms in pairs),
        "speedup": statistics.median(float_ms / int8_ms for float_ms, int8_ms in pairs),
    }


def _round(
    backend: Backend, float_only: Path, bundle: Path, settings: TimingSettings, integer_first: bool
) -> tuple[float | None, float | None]:
    """Milliseconds of the float32 and of the int8 file, measured one after the other; None for a failure."""
    order = (bundle, float_only) if integer_first else (float_only, bundle)
    measured = {folder: backend.measure_export(folder, settings).latency_ms for folder in order}
    return measured[float_only], measured[bundle]


@contextmanager
def _heap_set_aside() -> Iterator[None]:
    """Collects garbage once, so that the collection before each of many measurements has nothing left to look at."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
