"""Squeeze and excitation of channels, of positions, or of both."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.gates._role import Gate
from searchspaces.mixers._window import Positive
from searchspaces.part import Shape


class SpatialChannelExcitation(Gate):
    """scSE (Roy, Navab and Wachinger, 2018, arXiv:1803.02579 and, with the aggregations, arXiv:1808.08127).

    `mode` channel: cSE, each channel times sigmoid(W2 relu(W1 z)), z the means over positions. `mode` spatial: sSE,
    each position times sigmoid(w x), w a 1x1 convolution to one map. `mode` both: the two results, put together by
    their `aggregation`: the sum of the first paper, or the larger, or the product, of the second one, number by number.
    `reduction` is the channel count over the hidden width, 2 in the papers.
    """

    spatial_ranks: ClassVar[tuple[int, ...]] = (1, 2)

    mode: Literal["channel", "spatial", "both"] = "both"
    aggregation: Literal["sum", "maximum", "product"] = "sum"
    """Of `both` alone."""
    reduction: Positive = 2
    """Of `channel` and `both`."""

    def build(self, shape: Shape) -> nn.Module:
        """The gate for shape[0] channels, at any size."""
        channel = ChannelExcitation(shape[0], max(1, shape[0] // self.reduction))
        spatial = SpatialExcitation(shape[0])
        if self.mode == "both":
            return ConcurrentExcitation(channel, spatial, self.aggregation)
        return channel if self.mode == "channel" else spatial


class ChannelExcitation(nn.Module):
    """[b c *positions] -> the same; one factor per sample and channel."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.reduce = nn.Linear(channels, hidden)
        self.expand = nn.Linear(hidden, channels)

    def forward(self, x: Float[Tensor, "b c *positions"]) -> Float[Tensor, "b c *positions"]:
        """The input, each channel scaled."""
        scale = self.expand(F.relu(self.reduce(x.flatten(2).mean(2)))).sigmoid()
        return x * scale.reshape(*scale.shape, *[1] * (x.ndim - 2))


class SpatialExcitation(nn.Module):
    """[b c *positions] -> the same; one factor per sample and position."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, 1)

    def forward(self, x: Float[Tensor, "b c *positions"]) -> Float[Tensor, "b c *positions"]:
        """The input, each position scaled."""
        scale = self.squeeze(x.flatten(2).transpose(1, 2)).sigmoid()
        return x * scale.reshape(x.shape[0], 1, *x.shape[2:])


class ConcurrentExcitation(nn.Module):
    """[b c *positions] -> the same; both excitations of the input, put together."""

    def __init__(self, channel: nn.Module, spatial: nn.Module, aggregation: str) -> None:
        super().__init__()
        self.channel, self.spatial = channel, spatial
        self.aggregation = aggregation

    def forward(self, x: Float[Tensor, "b c *positions"]) -> Float[Tensor, "b c *positions"]:
        """The input, scaled both ways."""
        channel, spatial = self.channel(x), self.spatial(x)
        if self.aggregation == "maximum":
            return torch.maximum(channel, spatial)
        return channel + spatial if self.aggregation == "sum" else channel * spatial
