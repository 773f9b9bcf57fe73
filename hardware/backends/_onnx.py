"""The jobs of backends that run ONNX: each network's graph, and what of it computes in integers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from onnx import ModelProto
from torch import nn

from hardware.backends._local import float_module
from hardware.backends._role import Workload
from hardware.measurement import MeasurementError
from hardware.onnx_model import chain, export_blocks, weighted_nodes
from hardware.onnx_quantization import Samples, quantize
from hardware.onnx_session import normal
from searchspaces.part import Shape
from searchspaces.quantization.none import NoQuantization

_CALIBRATION_SAMPLES = 4

Key = tuple[Any, ...]


def float_models(jobs: Sequence[Workload], batch_size: int) -> Iterator[ModelProto | MeasurementError]:
    """The float graph of each job's network, or why there is none; each distinct block is exported once."""
    modules = {key: item for index, job in enumerate(jobs) for key, item in _modules(index, job).items()}
    exported = dict(zip(modules, export_blocks(list(modules.values()), batch_size), strict=True))
    for index, job in enumerate(jobs):
        yield _chained(job, [exported[key] for key in _keys(index, job)], batch_size)


def quantized(job: Workload, model: ModelProto, batch_size: int) -> ModelProto:
    """The graph with the job's integer blocks in int8, in QDQ form, by ONNX Runtime's quantizer."""
    return quantize(model, calibration(job, batch_size), weighted_nodes(model, integer_blocks(job)))


def integer_blocks(job: Workload) -> list[int]:
    """Numbers of the blocks that compute in integers when deployed."""
    return [index for index, place in enumerate(job.architecture.blocks()) if place.part.quantization.integer]


def calibration(job: Workload, batch_size: int) -> Samples:
    """The job's calibration samples; random ones for an untrained network, whose latency is the same."""
    if job.calibration is not None:
        return job.calibration
    return normal(_CALIBRATION_SAMPLES * batch_size, job.architecture.input_shape)


def exported_model(directory: Path) -> bytes:
    """The exported file that is deployed: `model.int8.onnx` where there is one, else `model.onnx`.

    Raises:
        MeasurementError: there is none, or it cannot be read.
    """
    int8 = directory / "model.int8.onnx"
    try:
        return (int8 if int8.exists() else directory / "model.onnx").read_bytes()
    except OSError as error:
        raise MeasurementError("compile_failed", str(error)) from error


def _chained(
    job: Workload, parts: Sequence[ModelProto | MeasurementError], batch_size: int
) -> ModelProto | MeasurementError:
    """The network of these blocks, or the first failure among them."""
    failed = [part for part in parts if isinstance(part, MeasurementError)]
    models = [part for part in parts if isinstance(part, ModelProto)]
    return failed[0] if failed else chain(models, job.architecture.input_shape, batch_size)


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
