"""A trained network as the start of a search."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from searchspaces.part import Part

if TYPE_CHECKING:
    from nas.tasks._loaded import LoadedTask
    from searchspaces.placements import Placements
    from searchspaces.supernet import Supernet


class Pretrained(Part):
    """The weights of a trained network, which the space's largest architecture takes over exactly.

    Without training they are searched as they are: LLaMA-NAS (arXiv:2405.18377) and SimQ-NAS (arXiv:2312.13301).
    """

    weights: str
    """A safetensors file: of a vision transformer of timm, transformers, torchvision or torch, or of an export."""
    names: dict[str, str] = {}
    """Beginnings of names in the file, and what stands for them in `searchspaces/pretrained_layouts.py`."""
    sort: Literal["contributions", "norms", "none"] = "contributions"
    """How channels and heads are ordered, the important first: by what they add on the calibration images, or by the
    norms of their weights."""

    def supernet(self, placements: Placements, task: LoadedTask) -> Supernet:
        """The shared weights of a space.

        Raises:
            PretrainedError: the weights cannot be read or do not fit the largest architecture.
        """
        from searchspaces.extremes import extremes
        from searchspaces.importance import sort_channels
        from searchspaces.supernet import Supernet

        found = Supernet.from_pretrained(placements, Path(self.weights).expanduser(), self.names)
        if self.sort != "none":
            largest = placements.space.decode(extremes(placements)[1])
            batches = [inputs for inputs, _ in task.calibration()] if self.sort == "contributions" else []
            sort_channels(found, largest, batches)
        return found
