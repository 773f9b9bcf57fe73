"""Pooling as an operation of a cell."""

from __future__ import annotations

from typing import Literal

from torch import nn

from searchspaces.blocks._convolution import OddKernel
from searchspaces.blocks._operation import Stride, strided
from searchspaces.blocks._role import Block
from searchspaces.part import Shape


class Pool(Block):
    """The average or the largest value of a window.

    `avg_pool_3x3` and `max_pool_3x3` of DARTS (arXiv:1806.09055) and NAS-Bench-201 (arXiv:2001.00326): positions
    outside of the image do not count in the average. The normalization that DARTS puts behind them while it searches
    is left out, as in its final networks.
    """

    mode: Literal["average", "maximum"] = "average"
    kernel: OddKernel = 3
    stride: Stride = 1

    def build(self, shape: Shape) -> nn.Module:
        """The pooling for [b c h w] features; it has no parameters."""
        if self.mode == "maximum":
            return nn.MaxPool2d(self.kernel, self.stride, self.kernel // 2)
        return nn.AvgPool2d(self.kernel, self.stride, self.kernel // 2, count_include_pad=False)

    def output_shape(self, shape: Shape) -> Shape:
        """Sizes divided by the stride, rounded up."""
        return strided(shape, shape[0], self.stride)
