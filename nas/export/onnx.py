"""ONNX in float32."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from nas.export import _onnx_file
from nas.export._role import Deployable, Format


class Onnx(Format):
    """The network as one ONNX file, for any batch size where its operators allow it."""

    file: ClassVar[str] = "model.onnx"
    title: ClassVar[str] = "ONNX in float32"
    load: ClassVar[str] = f'{_onnx_file.IMPORT}\nsession = onnxruntime.InferenceSession("model.onnx")'
    run: ClassVar[str] = '(logits,) = session.run(None, {"input": x})'

    def write(self, model: Deployable, folder: Path) -> list[Path]:
        """Writes the exporter's graph."""
        path = folder / self.file
        _onnx_file.write(model.inference, model, path)
        return [path]

    def batch_size(self, folder: Path) -> int | None:
        """As the graph says."""
        return _onnx_file.batch_size(folder / self.file)
