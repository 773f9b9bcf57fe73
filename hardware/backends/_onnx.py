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
from hardware.onnx_model import chain, export_blocks
from hardware.onnx_nodes import weighted_nodes
from hardware.onnx_quantization import Samples, quantize
from hardware.onnx_session import normal
from searchspaces.part import Shape
from searchspaces.quantization.none import NoQuantization

_CALIBRATION_SAMPLES = 4

_MOST_BYTES = 200_000_000
_UNTRAINED = "untrained"

Key = tuple[Any, ...]
_kept: dict[Key, ModelProto | MeasurementError] = {}


def float_models(jobs: Sequence[Workload], batch_size: int) -> Iterator[ModelProto | MeasurementError]:
    """The float graph of each job's network, or why there is none; each distinct block is exported once.

    Untrained blocks are kept for later calls: a profile meets the same ones in network after network.
    """
    needed = [_keys(index, job, batch_size) for index, job in enumerate(jobs)]
    found = {key: _kept[key] for keys in needed for key in keys if key in _kept}
    modules = {
        key: item
        for job, keys in zip(jobs, needed, strict=True)
        if any(key not in found for key in keys)
        for key, item in zip(keys, _modules(job), strict=True)
        if key not in found
    }
    fresh = dict(zip(modules, export_blocks(list(modules.values()), batch_size), strict=True))
    _keep({key: model for key, model in fresh.items() if key[0] == _UNTRAINED})
    found |= fresh
    for job, keys in zip(jobs, needed, strict=True):
        yield _chained(job, [found[key] for key in keys], batch_size)


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
    trace = job.architecture.traced()
    return failed[0] if failed else chain(models, trace.input_shape, batch_size, trace.wires)


def _keys(index: int, job: Workload, batch_size: int) -> list[Key]:
    """What each block of a job is exported as: untrained, the same block is shared by all jobs and policies."""
    blocks = job.architecture.blocks()
    if job.state is not None:
        return [(index, number) for number in range(len(blocks))]
    plain = {"quantization": NoQuantization()}
    return [(_UNTRAINED, place.part.model_copy(update=plain), place.shape, batch_size) for place in blocks]


def _modules(job: Workload) -> list[tuple[nn.Module, Shape]]:
    """The float module and input shape of each block of a job."""
    return list(zip(float_module(job), (place.shape for place in job.architecture.blocks()), strict=True))


def _keep(fresh: dict[Key, ModelProto | MeasurementError]) -> None:
    """Keeps exported blocks, and lets the oldest go where they are too many."""
    _kept.update(fresh)
    while sum(model.ByteSize() for model in _kept.values() if isinstance(model, ModelProto)) > _MOST_BYTES:
        del _kept[next(iter(_kept))]
