"""Spatial convolution within channels and projection across them, in turns."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import Odd, PositivePair, pair
from searchspaces.part import Shape


class IntraChannelConvolution(TokenMixer):
    """Single intra-channel convolution (SIC) layer (Wang, Liu, Foroosh, 2017, arXiv:1608.04337, section 3).

    `repeats` times x + relu(BN(P D x)): D convolves each channel alone, P projects across channels, nothing between.
    `neighborhood` is topological subdivisioning: channels lie on a square grid, closed at its borders,
    and each output is connected to the inputs in a box of so many rows and columns from its own place; None connects
    all.
    `bottleneck` above 1 is the spatial bottleneck: D has this stride, the projection runs on the smaller
    image, and a transposed depthwise convolution brings it back to size.
    """

    kernel: Odd = 3
    repeats: Annotated[int, Field(ge=1, le=8, strict=True)] = 2
    neighborhood: PositivePair | None = None
    bottleneck: Annotated[int, Field(ge=1, le=8, strict=True)] = 1

    def build(self, shape: Shape) -> nn.Module:
        """The layer for shape[0] channels, at any size."""
        box = None if self.neighborhood is None else pair(self.neighborhood)
        units = [IntraChannelUnit(shape[0], self.kernel, box, self.bottleneck) for _ in range(self.repeats)]
        return nn.Sequential(*units)


class IntraChannelUnit(nn.Module):
    """[b c h w] -> [b c h w]; the input and its convolution and projection."""

    def __init__(self, channels: int, kernel: int, neighborhood: tuple[int, int] | None, stride: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)
        self.projection = (
            nn.Conv2d(channels, channels, 1, bias=False)
            if neighborhood is None
            else LocalProjection(channels, neighborhood)
        )
        size = max(kernel, stride | 1)
        self.restore = (
            nn.ConvTranspose2d(channels, channels, size, stride, size // 2, groups=channels, bias=False)
            if stride > 1
            else None
        )
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The residual branch added to its input."""
        y = self.projection(self.convolution(x))
        if self.restore is not None:
            y = self.restore(y, output_size=x.shape[2:])
        return x + F.relu(self.norm(y))


class LocalProjection(nn.Module):
    """[b c h w] -> [b c h w]; each output channel is a weighted sum of the inputs in its box of the channel grid."""

    inputs: Tensor

    def __init__(self, channels: int, box: tuple[int, int]) -> None:
        super().__init__()
        columns = math.ceil(math.sqrt(channels))
        offsets = sorted({(row * columns + column) % channels for row in range(box[0]) for column in range(box[1])})
        inputs = torch.tensor([(output + offset) % channels for output in range(channels) for offset in offsets])
        self.weights = nn.Conv2d(channels * len(offsets), channels, 1, groups=channels, bias=False)
        self.register_buffer("inputs", inputs, persistent=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The projected features."""
        return self.weights(x.index_select(1, self.inputs))
