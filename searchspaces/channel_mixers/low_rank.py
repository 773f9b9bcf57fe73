"""Two-layer perceptron with both matrices of low rank."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from searchspaces.channel_mixers._role import ChannelMixer
from searchspaces.part import Shape


class LowRank(ChannelMixer):
    """Low-rank feed-forward network (Wei et al., 2024, arXiv:2407.09835, section 2): W = U V in both layers.

    U V x + b has r (m + n) weights for the m n of a matrix, trained from scratch; r is `rank` times the smaller side,
    at least 1. Spectral initialization (Khodak et al., 2021, arXiv:2105.01029): U and V are the leading parts of the
    singular value decomposition of a matrix initialized as usual, with the roots of the singular values, so that a
    smaller rank is the leading part of a larger one. Self-guided training, a dense matrix that fades out beside the
    factors early on, is a schedule of training and left out.
    """

    ratio: Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)] = 4.0
    """Hidden width over the channel count."""
    rank: Annotated[float, Field(gt=0, le=1, strict=True)] = 0.25
    """Rank over the channel count or the hidden width, whichever is smaller."""
    activation: Literal["gelu", "relu", "silu", "hard_swish"] = "gelu"

    def build(self, shape: Shape) -> nn.Module:
        """The perceptron for shape[0] channels, at any size."""
        hidden = max(1, round(shape[0] * self.ratio))
        return LowRankPerceptron(shape[0], hidden, max(1, round(self.rank * min(shape[0], hidden))), self.activation)


class LowRankPerceptron(nn.Module):
    """[b c h w] -> [b c h w]; two factored 1x1 convolutions with a non-linearity between."""

    def __init__(self, channels: int, hidden: int, rank: int, activation: str) -> None:
        super().__init__()
        activations = {"gelu": nn.GELU, "relu": nn.ReLU, "silu": nn.SiLU, "hard_swish": nn.Hardswish}
        self.expand = FactoredConvolution(channels, hidden, rank)
        self.activation = activations[activation]()
        self.project = FactoredConvolution(hidden, channels, rank)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Each position's features, transformed."""
        return self.project(self.activation(self.expand(x)))


class FactoredConvolution(nn.Module):
    """[b c h w] -> [b d h w]; a 1x1 convolution to the rank, and one from it with a bias."""

    def __init__(self, channels: int, width: int, rank: int) -> None:
        super().__init__()
        self.right = nn.Conv2d(channels, rank, 1, bias=False)
        self.left = nn.Conv2d(rank, width, 1)
        self._initialize(nn.Conv2d(channels, width, 1).weight)

    @torch.no_grad()
    def _initialize(self, weight: Float[Tensor, "d c 1 1"]) -> None:
        """Factors of the nearest matrix of this rank."""
        rank = self.right.out_channels
        left, values, right = torch.linalg.svd(weight.flatten(1), full_matrices=False)
        roots = values[:rank].sqrt()
        self.left.weight.copy_((left[:, :rank] * roots)[..., None, None])
        self.right.weight.copy_((roots[:, None] * right[:rank])[..., None, None])

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """Each position's features, through the rank."""
        return self.left(self.right(x))
