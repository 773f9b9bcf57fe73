"""The weights alone."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from safetensors.torch import save

from nas.export._role import Deployable, Format
from nas.files import write_atomic


class Safetensors(Format):
    """Parameters and normalization statistics in float32, by the names that `model.py` gives them."""

    file: ClassVar[str] = "model.safetensors"
    title: ClassVar[str] = "weights in float32, loaded by `model.py`"

    def write(self, model: Deployable, folder: Path) -> list[Path]:
        """Writes the state of the float network."""
        path = folder / self.file
        state = {name: tensor.contiguous() for name, tensor in model.network.state_dict().items()}
        write_atomic(path, save(state, metadata={"architecture": model.architecture.id, "format": "pt"}))
        return [path]
