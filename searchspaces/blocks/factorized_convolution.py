"""A wide convolution as one along the rows and one along the columns."""

from __future__ import annotations

from torch import nn

from searchspaces.blocks._convolution import OddKernel
from searchspaces.blocks._operation import Operation, Stride, strided
from searchspaces.blocks._role import Block
from searchspaces.part import Shape


class FactorizedConvolution(Block):
    """ReLU, 1 x k and k x 1 convolution, batch normalization, at the width of its input.

    `1x7 then 7x1 convolution` of NASNet (arXiv:1707.07012, section 3), in the form of DARTS's `conv_7x1_1x7`: one
    ReLU and one normalization for both.
    """

    kernel: OddKernel = 7
    stride: Stride = 1

    def build(self, shape: Shape) -> nn.Module:
        """The operation for [b c h w] features."""
        channels, kernel, stride = shape[0], self.kernel, self.stride
        along = nn.Conv2d(channels, channels, (1, kernel), (1, stride), (0, kernel // 2), bias=False)
        down = nn.Conv2d(channels, channels, (kernel, 1), (stride, 1), (kernel // 2, 0), bias=False)
        layers = nn.Sequential(nn.ReLU(), along, down, nn.BatchNorm2d(channels))
        return Operation(f"factorized_{kernel}", layers)

    def output_shape(self, shape: Shape) -> Shape:
        """Sizes divided by the stride, rounded up."""
        return strided(shape, shape[0], self.stride)
