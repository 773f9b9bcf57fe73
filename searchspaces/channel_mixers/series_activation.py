"""Two-layer perceptron whose non-linearity is a learned series of shifted ones."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from searchspaces.channel_mixers._role import ChannelMixer
from searchspaces.part import Shape


class SeriesActivation(ChannelMixer):
    """Feed-forward network with the series informed activation of PanGu-pi (Wang et al., 2023, arXiv:2312.17276).

    W2 s(W1 x + b1) + b2 with s(x) = sum_i a_i f(x + o_i) over `terms` i, scales a and offsets o learned for each hidden
    channel (section 4.1): more non-linearity for n numbers a channel. It starts as f itself: a_1 = 1 and the others 0,
    offsets 0, 1, -1, 2, ... (not told by the paper). The paper's other half, the augmented shortcut, is a choice of the
    residual block.
    """

    ratio: Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)] = 4.0
    """Hidden width over the channel count."""
    terms: Annotated[int, Field(ge=1, le=8, strict=True)] = 2
    activation: Literal["gelu", "relu", "silu", "hard_swish"] = "gelu"

    def build(self, shape: Shape) -> nn.Module:
        """The perceptron for shape[0] channels, at any size."""
        return SeriesPerceptron(shape[0], max(1, round(shape[0] * self.ratio)), self.terms, self.activation)


class SeriesPerceptron(nn.Module):
    """[b c h w] -> [b c h w]; two 1x1 convolutions with a series of non-linearities between."""

    def __init__(self, channels: int, hidden: int, terms: int, activation: str) -> None:
        super().__init__()
        self.expand = nn.Conv2d(channels, hidden, 1)
        self.series = Series(hidden, terms, activation)
        self.project = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Each position's features, transformed."""
        return self.project(self.series(self.expand(x)))


class Series(nn.Module):
    """[b c h w] -> [b c h w]; sum_i scale_i f(x + offset_i), one vector of each for every term."""

    def __init__(self, channels: int, terms: int, activation: str) -> None:
        super().__init__()
        activations = {"gelu": nn.GELU, "relu": nn.ReLU, "silu": nn.SiLU, "hard_swish": nn.Hardswish}
        offsets = [(index + 1) // 2 * (-1.0) ** (index + 1) for index in range(terms)]
        self.activation = activations[activation]()
        self.scales = nn.ParameterList(torch.full((channels,), float(index == 0)) for index in range(terms))
        self.offsets = nn.ParameterList(torch.full((channels,), offset) for offset in offsets)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Each number, through the series of its channel."""
        total = torch.zeros_like(x)
        for scale, offset in zip(self.scales, self.offsets, strict=True):
            total = total + scale[:, None, None] * self.activation(x + offset[:, None, None])
        return total
