"""Static int8 quantization of ONNX models by ONNX Runtime's own tool."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from hardware.onnx_model import quiet, save
from hardware.onnx_nodes import WEIGHTED

Samples = npt.NDArray[np.float32]
"""Inputs of a network: [samples, *shape]."""


def quantize_onnx(source: ModelProto | Path, target: Path, calibration: Samples, nodes: Sequence[str]) -> None:
    """Writes the model with these nodes computing in int8: static, QDQ form.

    Weights are int8 per channel, activations uint8 with the least and greatest values seen as their range. Weights of
    fewer than eight bits stay in eight-bit containers; to deploy them, set them to their grid before the export.

    Args:
        source: float model with a fixed or an open batch.
        target: file to write, at once or not at all.
        calibration: [samples, *shape]; with a fixed batch, samples beyond the last full one are not used.
        nodes: names, as from `weighted_nodes`; the other nodes stay as they are.

    Raises:
        ValueError: there are fewer calibration samples than one batch.
    """
    model = onnx.load(source, load_external_data=False) if isinstance(source, Path) else source
    save(quantize(model, calibration, nodes), target)


def quantize(model: ModelProto, calibration: Samples, nodes: Sequence[str]) -> ModelProto:
    """`quantize_onnx` in memory. Without nodes it is the model itself."""
    if not nodes:
        return model
    copied = ModelProto()
    copied.CopyFrom(model)
    with tempfile.TemporaryDirectory() as folder, quiet():
        target = Path(folder) / "quantized.onnx"
        quantize_static(
            copied,
            str(target),
            _Batches(model, calibration),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(WEIGHTED),
            nodes_to_quantize=list(nodes),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return onnx.load(target)


class _Batches(CalibrationDataReader):
    """Calibration samples in batches of the model's size."""

    def __init__(self, model: ModelProto, samples: Samples) -> None:
        self._name = model.graph.input[0].name
        batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value or len(samples)
        count = len(samples) // batch if batch else 0
        if count == 0:
            raise ValueError(f"{len(samples)} calibration samples do not fill a batch of {batch}")
        self._batches = iter(np.split(samples[: count * batch], count))

    def get_next(self) -> dict[str, Samples] | None:
        """The next batch."""
        batch = next(self._batches, None)
        return None if batch is None else {self._name: np.ascontiguousarray(batch, dtype=np.float32)}
