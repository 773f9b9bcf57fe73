"""Between stages: more channels and fewer positions, each channel from one."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from searchspaces.blocks._role import Block
from searchspaces.part import Shape


class DepthwiseTransition(Block):
    """A depthwise convolution that makes several channels of each: the pooling of PiT (arXiv:2103.16302) and SReT.

    The kernel is the smallest odd one that covers the stride: stride + 1 for the even strides of the papers. Channel j
    is made of channel j mod c; that the papers make it of floor(j c / width) is another numbering of the same function,
    and needs a width that is a multiple of c. Here any width goes.
    """

    width: Annotated[int, Field(ge=1)] | None = None
    """Channels behind; as before, if not given."""
    stride: Annotated[int, Field(ge=1, le=4)] = 2

    def build(self, shape: Shape) -> nn.Module:
        """The transition for [b c h w] features."""
        return DepthwiseResampling(shape[0], self.output_shape(shape)[0], self.stride)

    def output_shape(self, shape: Shape) -> Shape:
        """Sizes divided by the stride, rounded up."""
        return (self.width or shape[0], *(math.ceil(size / self.stride) for size in shape[1:]))


class DepthwiseResampling(nn.Module):
    """Channels repeated in turn up to the width, each convolved by itself."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        kernel = stride + 1 - stride % 2
        self.width, self.repeats = width, -(-width // channels)
        self.convolution = nn.Conv2d(width, width, kernel, stride, kernel // 2, groups=width)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b width h2 w2"]:
        """Downsampled features of the width."""
        repeated = torch.cat([x] * self.repeats, 1) if self.repeats > 1 else x
        return self.convolution(repeated[:, : self.width])
