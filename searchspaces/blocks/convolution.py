"""A plain convolution: the stem of a convolutional network, or a layer of one."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field
from torch import nn

from searchspaces.blocks._convolution import Activation, OddKernel, convolution_norm
from searchspaces.blocks._role import Block
from searchspaces.part import Shape


class Convolution(Block):
    """Convolution, batch normalization, activation."""

    width: Annotated[int, Field(ge=1)]
    kernel: OddKernel = 3
    stride: Annotated[int, Field(ge=1)] = 1
    activation: Activation = "hardswish"

    def build(self, shape: Shape) -> nn.Module:
        """The layer for [b c h w] features."""
        return convolution_norm(shape[0], self.width, self.kernel, self.stride, activation=self.activation)

    def output_shape(self, shape: Shape) -> Shape:
        """Sizes divided by the stride, rounded up (for odd kernels)."""
        return (self.width, *(math.ceil(size / self.stride) for size in shape[1:]))
