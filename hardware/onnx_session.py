"""ONNX models in ONNX Runtime. Needs neither torch nor onnx, so that it works on small boards."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import (
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    NotImplemented,
    RuntimeException,
)

from hardware.measurement import MeasurementError

Array = npt.NDArray[np.float32]

_ERRORS = (Fail, InvalidArgument, InvalidGraph, InvalidProtobuf, NotImplemented, RuntimeException, MemoryError)
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxSession:
    """A model of one input, which has run once. Its operators run one after the other."""

    def __init__(self, model: bytes, threads: int, batch_size: int, device: Literal["cpu", "cuda"] = "cpu") -> None:
        """Loads a model and runs it.

        Args:
            model: serialized, its weights inside; an open axis `batch` takes the batch size.
            threads: of one operator.
            batch_size: samples in one run.
            device: where it runs; on `cuda` input and output stay in the memory of the GPU.

        Raises:
            MeasurementError: the runtime refuses the model or the device, or fails.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3
        options.add_free_dimension_override_by_name("batch", batch_size)
        options.add_session_config_entry("session.load_model_format", "ONNX")
        require(device)
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=[_PROVIDERS[device]])
            if self._session.get_providers()[0] != _PROVIDERS[device]:
                raise RuntimeException(f"{_PROVIDERS[device]} could not be loaded: its libraries are missing")
            (source,) = self._session.get_inputs()
            self._name = source.name
            self._feed = {source.name: normal(batch_size, tuple(source.shape[1:]))}
            self._binding = self._bound() if device == "cuda" else None
            self.run()
        except _ERRORS as error:
            raise _failure(error) from error

    def run(self) -> None:
        """Runs it on one random batch, and returns when the output is there."""
        if self._binding is None:
            self._session.run(None, self._feed)
        else:
            self._session.run_with_iobinding(self._binding)

    def outputs(self, x: Array) -> Array:
        """What the network makes of a batch."""
        return self._session.run(None, {self._name: x})[0]

    def _bound(self) -> onnxruntime.IOBinding:
        """The random batch in the memory of the GPU, and the output there too."""
        binding = self._session.io_binding()
        binding.bind_ortvalue_input(
            self._name, onnxruntime.OrtValue.ortvalue_from_numpy(self._feed[self._name], "cuda", 0)
        )
        binding.bind_output(self._session.get_outputs()[0].name, "cuda")
        return binding


def require(device: Literal["cpu", "cuda"]) -> None:
    """Finds out whether the runtime was built for a device; asked for another one, it would use the processor.

    Raises:
        MeasurementError: it was not.
    """
    offered = onnxruntime.get_available_providers()
    if _PROVIDERS[device] not in offered:
        raise MeasurementError("compile_failed", f"onnxruntime offers {', '.join(offered)}, not {_PROVIDERS[device]}")


def normal(count: int, shape: tuple[int, ...]) -> Array:
    """Standard normal samples, the same every time."""
    return np.random.default_rng(0).standard_normal((count, *shape), dtype=np.float32)


def _failure(error: Exception) -> MeasurementError:
    """Which kind of failure the runtime met."""
    words = f"{type(error).__name__}: {error}"
    if isinstance(error, NotImplemented):
        return MeasurementError("unsupported_operator", words)
    memory = isinstance(error, MemoryError) or "bad_alloc" in words or "Failed to allocate" in words
    return MeasurementError("out_of_memory" if memory else "compile_failed", words)
