"""Gate: rescales features by a function of themselves."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from torch import nn

from searchspaces.part import Part, Shape


class Gate(Part):
    """Maps [b c h w] to the same shape, as the input times an attention map."""

    spatial_ranks: ClassVar[tuple[int, ...]] = (2,)

    @abstractmethod
    def build(self, shape: Shape) -> nn.Module:
        """The gate for samples of this shape, with freshly initialized parameters."""
