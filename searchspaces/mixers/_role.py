"""TokenMixer: exchanges information between positions."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from torch import nn

from searchspaces.part import Part, Shape


class TokenMixer(Part):
    """Maps [b c h w] (or [b c t]) to the same shape, mixing positions.

    `build` must work for every channel count and every size: a mixer pads, or rounds its groups, rather than refuse.
    """

    spatial_ranks: ClassVar[tuple[int, ...]] = (2,)
    """How many position axes the mixer accepts: 2 for [b c h w], 1 for [b c t]."""

    @abstractmethod
    def build(self, shape: Shape) -> nn.Module:
        """The operator for samples of this shape, with freshly initialized parameters."""
