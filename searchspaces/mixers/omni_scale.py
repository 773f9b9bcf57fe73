"""Streams of different receptive fields, fused by one gate that all of them share."""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.blocks._convolution import ConvolutionNorm, convolution_norm
from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import Odd, Positive
from searchspaces.part import Shape


class OmniScale(TokenMixer):
    """Omni-scale residual block without its shortcut (OSNet: Zhou et al., 2019, arXiv:1905.00953, section 3).

    y = W_2 sum_t G(x_t) x_t, x_t being t Lite 3 x 3 in a row on W_1 x: stream t sees 2 t + 1 positions. A Lite 3 x 3 is
    a pointwise and then a depthwise convolution, normalization, ReLU. The unified aggregation gate G is one for all
    streams: sigmoid of a two-layer network of the mean. `instance_norm` normalizes the output of each sample and
    channel, the candidate inside the residual branch of OSNet-AIN's search (arXiv:1910.06827).
    """

    kernel: Odd = 3
    streams: Annotated[int, Field(ge=1, le=8, strict=True)] = 4
    reduction: Positive = 4
    """Channels over the width of the streams."""
    gate_reduction: Positive = 16
    """Width of the streams over the gate's hidden width."""
    instance_norm: bool = Field(default=False, strict=True)

    def build(self, shape: Shape) -> nn.Module:
        """The operator for shape[0] channels, at any size."""
        width = max(1, shape[0] // self.reduction)
        hidden = max(1, width // self.gate_reduction)
        return OmniScaleStreams(shape[0], width, hidden, self.kernel, self.streams, self.instance_norm)


class OmniScaleStreams(nn.Module):
    """[b c h w] -> [b c h w]; the gated sum of the streams between two pointwise convolutions."""

    def __init__(self, channels: int, width: int, hidden: int, kernel: int, streams: int, instance_norm: bool) -> None:
        super().__init__()
        self.reduce = convolution_norm(channels, width, 1, activation="relu")
        self.streams = nn.ModuleList(
            nn.Sequential(*(LiteConvolution(width, kernel) for _ in range(length))) for length in range(1, streams + 1)
        )
        self.gate = AggregationGate(width, hidden)
        self.expand = convolution_norm(width, channels, 1)
        self.instance_norm = SampleNorm(channels) if instance_norm else nn.Identity()

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Features of all scales."""
        reduced = self.reduce(x)
        mixed = torch.stack([self.gate(stream(reduced)) for stream in self.streams]).sum(0)
        return self.instance_norm(self.expand(mixed))


class LiteConvolution(nn.Module):
    """[b c h w] -> [b c h w]; pointwise, then depthwise with normalization and ReLU: the factors of a convolution."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.depthwise: ConvolutionNorm = convolution_norm(
            channels, channels, kernel, groups=channels, activation="relu"
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The convolved features."""
        return self.depthwise(self.pointwise(x))


class AggregationGate(nn.Module):
    """[b c h w] -> [b c h w]; one factor between 0 and 1 per sample and channel."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(channels, hidden, 1), nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The input, each channel scaled."""
        return x * self.expand(F.relu(self.reduce(x.mean((2, 3), keepdim=True)))).sigmoid()


class SampleNorm(nn.Module):
    """[b c h w] -> [b c h w]; instance normalization with scale and shift, for images of any size, one position too."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Zero mean and unit variance over the positions, scaled and shifted."""
        normalized = F.layer_norm(x, x.shape[2:])
        return normalized * self.weight[:, None, None] + self.bias[:, None, None]
