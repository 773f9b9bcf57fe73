"""Between stages: another width, and fewer positions."""

from __future__ import annotations

import math
from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from searchspaces.blocks._convolution import ACTIVATIONS, Activation
from searchspaces.blocks._role import Block
from searchspaces.part import Shape


class Transition(Block):
    """Convolution to another width, with the stride as a downsampling factor; pointwise at stride 1."""

    width: Annotated[int, Field(ge=1)]
    stride: Annotated[int, Field(ge=1, le=4)] = 2
    activation: Activation = "none"

    def build(self, shape: Shape) -> nn.Module:
        """The transition for [b c h w] features."""
        return TransitionConvolution(shape[0], self.width, self.stride, ACTIVATIONS[self.activation]())

    def output_shape(self, shape: Shape) -> Shape:
        """Sizes divided by the stride, rounded up."""
        return (self.width, *(math.ceil(size / self.stride) for size in shape[1:]))


class TransitionConvolution(nn.Module):
    """Normalization, a convolution of stride `stride` and the smallest odd kernel that covers it, activation."""

    def __init__(self, channels: int, width: int, stride: int, activation: nn.Module) -> None:
        super().__init__()
        kernel = stride + 1 - stride % 2
        self.norm = nn.BatchNorm2d(channels)
        self.convolution = nn.Conv2d(channels, width, kernel, stride, kernel // 2)
        self.activation = activation

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b width h2 w2"]:
        """Features at the next stage's width and size."""
        return self.activation(self.convolution(self.norm(x)))
