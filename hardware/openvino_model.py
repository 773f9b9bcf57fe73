"""ONNX models in OpenVINO: read, quantized by NNCF, compiled for the processor. Imports OpenVINO where it is used."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hardware.measurement import Failure, MeasurementError
from hardware.onnx_quantization import Samples

if TYPE_CHECKING:
    import openvino


def read(model: bytes | Path, batch_size: int) -> openvino.Model:
    """OpenVINO's form of a model, with a fixed batch.

    Args:
        model: serialized ONNX, or the path of an OpenVINO or ONNX file.
        batch_size: of the open axis, if there is one.

    Raises:
        MeasurementError: OpenVINO refuses the model, or its batch is fixed at another size.
    """
    with refusals():
        found = _core().read_model(model)
        first, *rest = found.input(0).partial_shape
        if first.is_dynamic:
            found.reshape([batch_size, *rest])
        elif first.get_length() != batch_size:
            raise MeasurementError(
                "compile_failed", f"the model takes batches of {first.get_length()}, not {batch_size}"
            )
        return found


def compiled(model: openvino.Model, threads: int) -> openvino.CompiledModel:
    """A model compiled for one stream of float32 and, where it is quantized, int8 work on the processor.

    Without the first hint OpenVINO computes in bfloat16 where the processor can. Its threads are not pinned: a pinned
    one waits for whatever else runs on its core.

    Raises:
        MeasurementError: OpenVINO refuses the model.
    """
    hints = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    with refusals():
        counts = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False}
        return _core().compile_model(model, "CPU", {**hints, **counts})


def quantize(model: openvino.Model, calibration: Samples, floats: Sequence[int]) -> openvino.Model:
    """The model in int8 by NNCF's post-training quantization, but for some blocks.

    Weights are int8 per channel, activations have eight bits; biases are corrected for the mean error that this makes.

    Args:
        model: with a fixed batch; its operators are named after the block that they belong to, as in a `chain`.
        calibration: [samples, *shape]; samples beyond the last full batch are not used.
        floats: numbers of the blocks that stay in float32.

    Raises:
        ValueError: there are fewer calibration samples than one batch.
        MeasurementError: NNCF fails.
    """
    batch = model.input(0).shape[0]
    count = len(calibration) // batch
    if count == 0:
        raise ValueError(f"{len(calibration)} calibration samples do not fill a batch of {batch}")
    batches = np.split(np.ascontiguousarray(calibration[: count * batch], dtype=np.float32), count)
    with _quiet_nncf() as nncf:
        ignored = nncf.IgnoredScope(patterns=[f"^{block}/.*" for block in floats], validate=False)
        try:
            return nncf.quantize(model, nncf.Dataset(batches), subset_size=count, ignored_scope=ignored)
        except Exception as error:
            raise MeasurementError("compile_failed", f"{type(error).__name__}: {error}") from error


@contextmanager
def refusals() -> Iterator[None]:
    """Turns what OpenVINO raises into a state with its words.

    Raises:
        MeasurementError: OpenVINO raised something.
    """
    try:
        yield
    except MemoryError as error:
        raise MeasurementError("out_of_memory", str(error)) from error
    except (RuntimeError, ValueError) as error:
        unsupported = "No conversion rule found" in str(error)
        state: Failure = "unsupported_operator" if unsupported else "compile_failed"
        raise MeasurementError(state, f"OpenVINO: {error}") from error


@contextmanager
def _quiet_nncf() -> Iterator[Any]:
    """NNCF without its progress bars and log lines."""
    import nncf

    nncf.set_log_level(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):
        yield nncf


@cache
def _core() -> openvino.Core:
    """OpenVINO's runtime; making one takes a tenth of a second."""
    import openvino

    return openvino.Core()
