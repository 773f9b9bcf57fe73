"""A convolution as an operation of a cell."""

from __future__ import annotations

from torch import nn

from searchspaces.blocks._convolution import OddKernel
from searchspaces.blocks._operation import Operation, Stride, relu_convolution, strided
from searchspaces.blocks._role import Block
from searchspaces.part import Shape


class ReluConvolution(Block):
    """ReLU, convolution, batch normalization, at the width of its input.

    `nor_conv_1x1` and `nor_conv_3x3` of NAS-Bench-201 (arXiv:2001.00326, section 2.1); NASNet's convolutions
    (arXiv:1707.07012, appendix A.4) have the same order.
    """

    kernel: OddKernel = 3
    stride: Stride = 1

    def build(self, shape: Shape) -> nn.Module:
        """The operation for [b c h w] features."""
        layers = relu_convolution(shape[0], shape[0], self.kernel, self.stride)
        return Operation(f"conv_{self.kernel}x{self.kernel}", layers)

    def output_shape(self, shape: Shape) -> Shape:
        """Sizes divided by the stride, rounded up."""
        return strided(shape, shape[0], self.stride)
