"""ChannelMixer: exchanges information between channels, at each position alone."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from torch import nn

from searchspaces.part import Part, Shape


class ChannelMixer(Part):
    """Maps [b c h w] to the same shape, mixing channels."""

    spatial_ranks: ClassVar[tuple[int, ...]] = (2,)

    @abstractmethod
    def build(self, shape: Shape) -> nn.Module:
        """The operator for samples of this shape, with freshly initialized parameters."""
