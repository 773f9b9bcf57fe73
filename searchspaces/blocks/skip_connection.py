"""The operation that hands on what it reads."""

from __future__ import annotations

from torch import nn

from searchspaces.blocks._operation import FactorizedReduction, Stride, strided
from searchspaces.blocks._role import Block
from searchspaces.part import Shape


class SkipConnection(Block):
    """The identity; with a stride DARTS's factorized reduction (`skip_connect`, arXiv:1806.09055, section 3.1)."""

    stride: Stride = 1

    def build(self, shape: Shape) -> nn.Module:
        """The operation for [b c h w] features."""
        return nn.Identity() if self.stride == 1 else FactorizedReduction(shape[0], shape[0], self.stride)

    def output_shape(self, shape: Shape) -> Shape:
        """Sizes divided by the stride, rounded up."""
        return strided(shape, shape[0], self.stride)
