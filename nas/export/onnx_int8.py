"""ONNX in eight-bit integers."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import ClassVar

import onnx

from hardware.measurement import MeasurementError
from hardware.onnx_nodes import weighted_nodes
from hardware.onnx_quantization import quantize_onnx
from nas.export import _onnx_file
from nas.export._role import Deployable, Format
from nas.export.onnx import Onnx
from searchspaces.cost import architecture_cost
from searchspaces.quantization.integer import Integer

_MEMORY_BYTES = 2**30
"""For the activations of the calibration images."""


class OnnxInt8(Format):
    """The network with the convolutions and linear layers of its integer blocks in int8, QDQ form.

    Weights are on their policy's grid, in eight-bit containers whatever its width; activations have eight bits and the
    range of the calibration images.
    """

    file: ClassVar[str] = "model.int8.onnx"
    title: ClassVar[str] = "ONNX, integer blocks in int8"
    load: ClassVar[str] = f'{_onnx_file.IMPORT}\nsession = onnxruntime.InferenceSession("model.int8.onnx")'
    run: ClassVar[str] = '(logits,) = session.run(None, {"input": x})'
    exact: ClassVar[bool] = False

    def write(self, model: Deployable, folder: Path) -> list[Path]:
        """Writes the quantized graph; nothing where no integer block holds a convolution or linear layer."""
        if not model.integer_blocks:
            return []
        path = folder / self.file
        with tempfile.TemporaryDirectory() as scratch:
            source = _float_graph(model, folder, Path(scratch))
            nodes = weighted_nodes(onnx.load(source), model.integer_blocks)
            if nodes:
                _quantize(source, path, model, nodes)
        return [path] if nodes else []

    def batch_size(self, folder: Path) -> int | None:
        """As the graph says."""
        return _onnx_file.batch_size(folder / self.file)


def _float_graph(model: Deployable, folder: Path, scratch: Path) -> Path:
    """The graph to quantize: `model.onnx`, or another one where the policies use fewer values than eight bits have."""
    written = folder / Onnx.file
    eight_bits = all(_is_plain(model, index) for index in model.integer_blocks)
    if eight_bits and written.exists():
        return written
    source = scratch / Onnx.file
    _onnx_file.write(model.inference if eight_bits else model.network_on_grid, model, source)
    return source


def _is_plain(model: Deployable, index: int) -> bool:
    """Whether a block's weights have the grid that the quantizer itself gives them."""
    policy = model.architecture.blocks()[index].part.quantization
    return isinstance(policy, Integer) and policy.model_copy(update={"activation_bits": 8}) == Integer()


def _samples(model: Deployable) -> int:
    """How many calibration images the quantizer is given: it keeps all that the network writes for each of them."""
    kept = max(1, architecture_cost(model.architecture).activation_bytes)
    return max(model.backend.batch_size, _MEMORY_BYTES // kept)


def _quantize(source: Path, target: Path, model: Deployable, nodes: list[str]) -> None:
    """Writes the quantized graph.

    Raises:
        MeasurementError: the quantizer fails.
    """
    try:
        quantize_onnx(source, target, model.calibration[: _samples(model)], nodes)
    except OSError:
        raise
    except Exception as error:
        raise MeasurementError("compile_failed", f"{type(error).__name__}: {error}") from error
