"""PyTorch's exported program."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, ClassVar

import torch

from hardware.measurement import MeasurementError
from hardware.onnx_model import quiet
from nas.export._role import Deployable, Format
from nas.files import write_atomic


class TorchExport(Format):
    """The traced graph with its weights, for `torch.export.load`, without any Python of the network."""

    file: ClassVar[str] = "model.pt2"
    title: ClassVar[str] = "PyTorch exported program in float32"
    load: ClassVar[str] = 'import torch\n\nnetwork = torch.export.load("model.pt2").module()'
    run: ClassVar[str] = "with torch.inference_mode():\n    logits = network(torch.from_numpy(x)).numpy()"

    def write(self, model: Deployable, folder: Path) -> list[Path]:
        """Writes the program; its batch axis is open where the operators allow it."""
        try:
            content = _exported(model, None)
        except MeasurementError:
            content = _exported(model, model.backend.batch_size)
        write_atomic(folder / self.file, content)
        return [folder / self.file]

    def batch_size(self, folder: Path) -> int | None:
        """As the program's input says."""
        program: Any = torch.export.load(folder / self.file)
        (name,) = program.graph_signature.user_inputs
        value = next(node.meta["val"] for node in program.graph.nodes if node.name == name)
        return value.shape[0] if isinstance(value.shape[0], int) else None


def _exported(model: Deployable, batch_size: int | None) -> bytes:
    """The program as bytes, without the paths and lines of the source that its nodes come from.

    Raises:
        MeasurementError: with the tracer's words.
    """
    example = torch.zeros(batch_size or 2, *model.architecture.input_shape)
    dynamic = None if batch_size else ({0: torch.export.Dim("batch")},)
    content = io.BytesIO()
    try:
        with quiet(), torch.no_grad():
            program = torch.export.export(model.inference, (example,), dynamic_shapes=dynamic)
            for node in program.graph.nodes:
                node.meta.pop("stack_trace", None)
            torch.export.save(program, content)
    except Exception as error:
        raise MeasurementError("compile_failed", f"{type(error).__name__}: {error}") from error
    return content.getvalue()
