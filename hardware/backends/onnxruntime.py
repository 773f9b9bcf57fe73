"""ONNX Runtime on the processor: float32, and int8 where a block's policy says so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnx import ModelProto
from onnxruntime.capi.onnxruntime_pybind11_state import (
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    NotImplemented,
    RuntimeException,
)
from torch import nn

from hardware.backends._local import LocalBackend, Prepared, float_module
from hardware.backends._role import Workload
from hardware.measurement import MeasurementError
from hardware.onnx_model import chain, export_blocks, weighted_nodes
from hardware.onnx_quantization import Samples, quantize
from searchspaces.part import Shape
from searchspaces.quantization.none import NoQuantization

_CALIBRATION_SAMPLES = 4
_ERRORS = (Fail, InvalidArgument, InvalidGraph, InvalidProtobuf, NotImplemented, RuntimeException, MemoryError)

Key = tuple[Any, ...]


class OnnxRuntime(LocalBackend):
    """The graph of the exported network, on the CPU execution provider, operators one after the other."""

    runtimes = ("onnxruntime", "torch")
    supports_integer = True

    def prepared(self, jobs: Sequence[Workload]) -> Iterator[Prepared | MeasurementError]:
        """A session for each network; each distinct block is exported once."""
        modules = {key: item for index, job in enumerate(jobs) for key, item in _modules(index, job).items()}
        exported = dict(zip(modules, export_blocks(list(modules.values()), self.batch_size), strict=True))
        for index, job in enumerate(jobs):
            yield self._prepare(index, job, exported)

    def prepared_export(self, directory: Path) -> Prepared | MeasurementError:
        """A session for `model.int8.onnx` where there is one, else for `model.onnx`."""
        int8 = directory / "model.int8.onnx"
        path = int8 if int8.exists() else directory / "model.onnx"
        try:
            return self._session(path.read_bytes())
        except OSError as error:
            return MeasurementError("compile_failed", str(error))

    def network(self, job: Workload, parts: Sequence[ModelProto]) -> ModelProto:
        """The job's network as it is deployed, from its blocks' float graphs."""
        shape, blocks = job.architecture.input_shape, job.architecture.blocks()
        model = chain(parts, shape, self.batch_size)
        integer = [index for index, place in enumerate(blocks) if place.part.quantization.integer]
        samples = job.calibration
        if samples is None:
            samples = _random(_CALIBRATION_SAMPLES * self.batch_size, shape)
        return quantize(model, samples, weighted_nodes(model, integer))

    def _prepare(self, index: int, job: Workload, exported: dict[Key, Any]) -> Prepared | MeasurementError:
        """A run of the job's network, or the first failure among its blocks."""
        parts = [exported[key] for key in _keys(index, job)]
        for part in parts:
            if isinstance(part, MeasurementError):
                return part
        return self._session(self.network(job, parts).SerializeToString())

    def _session(self, model: bytes) -> Prepared | MeasurementError:
        """A run of a model."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3
        options.add_free_dimension_override_by_name("batch", self.batch_size)
        try:
            session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            (source,) = session.get_inputs()
            feed = {source.name: _random(self.batch_size, tuple(source.shape[1:]))}

            def run() -> None:
                session.run(None, feed)

            run()
        except _ERRORS as error:
            return _failure(error)
        return Prepared(run, len(model))


def _keys(index: int, job: Workload) -> list[Key]:
    """What each block of a job is exported as: untrained, the same block is shared by all jobs and policies."""
    blocks = job.architecture.blocks()
    if job.state is not None:
        return [(index, number) for number in range(len(blocks))]
    plain = {"quantization": NoQuantization()}
    return [(place.part.model_copy(update=plain), place.shape) for place in blocks]


def _modules(index: int, job: Workload) -> dict[Key, tuple[nn.Module, Shape]]:
    """The float module and input shape of each block of a job."""
    network = float_module(job)
    shapes = [place.shape for place in job.architecture.blocks()]
    return dict(zip(_keys(index, job), zip(network, shapes, strict=True), strict=True))


def _failure(error: Exception) -> MeasurementError:
    """Which kind of failure the runtime met."""
    words = f"{type(error).__name__}: {error}"
    if isinstance(error, NotImplemented):
        return MeasurementError("unsupported_operator", words)
    memory = isinstance(error, MemoryError) or "bad_alloc" in words or "Failed to allocate" in words
    return MeasurementError("out_of_memory" if memory else "compile_failed", words)


def _random(count: int, shape: Shape) -> Samples:
    """Standard normal samples, the same every time."""
    return np.random.default_rng(0).standard_normal((count, *shape), dtype=np.float32)
