"""What stands behind an input of a cell."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import nn

from searchspaces.blocks._operation import FactorizedReduction, Stride, relu_convolution, strided
from searchspaces.blocks._role import Block
from searchspaces.part import Shape


class Preprocessing(Block):
    """ReLU, pointwise convolution and normalization to the cell's width; a factorized reduction where it has a stride.

    DARTS (arXiv:1806.09055, appendix A.1.2) and NASNet (arXiv:1707.07012, appendix A.4): the output before the current
    one is reduced to the current size where a reduction cell lies between the two.
    """

    width: Annotated[int, Field(ge=1)]
    stride: Stride = 1

    def build(self, shape: Shape) -> nn.Module:
        """The layer for [b c h w] features."""
        if self.stride > 1:
            return FactorizedReduction(shape[0], self.width, self.stride)
        return relu_convolution(shape[0], self.width, 1)

    def output_shape(self, shape: Shape) -> Shape:
        """The width, and sizes divided by the stride, rounded up."""
        return strided(shape, self.width, self.stride)

    def fitted(self, shape: Shape, current: Shape) -> Block:
        """With the stride that makes an older output as small as the current one."""
        return self.model_copy(
            update={"stride": max(round(a / b) for a, b in zip(shape[1:], current[1:], strict=True))}
        )
