"""Bottleneck whose squeeze picks or averages within groups of channels, without a matrix."""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.channel_mixers._role import ChannelMixer
from searchspaces.mixers._window import Positive
from searchspaces.part import Shape


class PickOrMix(ChannelMixer):
    """PiX (Kumar et al., 2024, arXiv:2406.10935, section 3) as a bottleneck's squeeze, then a 1x1 convolution back.

    Subset j holds `factor` channels that follow each other; p = sigmoid(W mean(x)) is one probability per image and
    subset. The squeezed channel is p_j max(subset) at each position where p_j < `threshold`, p_j mean(subset)
    otherwise, as in the authors' kernel. A last subset with fewer channels has the maximum of those, and its sum is
    still divided by the factor, as there. The 3x3 convolution between squeeze and expansion in the paper's ResNet is
    the token mixer's part; PiX is itself the non-linearity. The choice is a step: where rounding to integers carries a
    probability over the threshold, that subset's output jumps.
    """

    factor: Positive = 4
    threshold: Annotated[float, Field(ge=0, le=1, strict=True)] = 0.5

    def build(self, shape: Shape) -> nn.Module:
        """The bottleneck for shape[0] channels, at any size."""
        return PickOrMixBottleneck(shape[0], self.factor, self.threshold)


class PickOrMixBottleneck(nn.Module):
    """[b c h w] -> [b c h w]; squeezed by sampling, expanded by a 1x1 convolution."""

    def __init__(self, channels: int, factor: int, threshold: float) -> None:
        super().__init__()
        self.squeeze = ChannelSampler(channels, factor, threshold)
        self.expand = nn.Conv2d(-(-channels // factor), channels, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Each position's features, transformed by what the whole image has most of."""
        return self.expand(self.squeeze(x))


class ChannelSampler(nn.Module):
    """[b c h w] -> [b s h w], s = ceil(c / factor); one channel of each subset, or their mean."""

    def __init__(self, channels: int, factor: int, threshold: float) -> None:
        super().__init__()
        self.factor, self.threshold = factor, threshold
        self.context = nn.Conv2d(channels, -(-channels // factor), 1, bias=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b s h w"]:
        """The squeezed features."""
        probability = self.context(x.mean((2, 3), keepdim=True)).sigmoid()
        missing = -x.shape[1] % self.factor
        repeated = torch.cat([x, *[x[:, -1:]] * missing], 1) if missing else x
        picked = repeated.unflatten(1, (-1, self.factor)).amax(2)
        mixed = F.pad(x, (0, 0, 0, 0, 0, missing)).unflatten(1, (-1, self.factor)).mean(2)
        return probability * torch.where(probability < self.threshold, picked, mixed)
