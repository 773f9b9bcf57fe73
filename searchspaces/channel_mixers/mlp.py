"""Two-layer perceptron at every position."""

from __future__ import annotations

from typing import Annotated, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from searchspaces.channel_mixers._role import ChannelMixer
from searchspaces.part import Shape


class Mlp(ChannelMixer):
    """Position-wise feed-forward network: W2 f(W1 x + b1) + b2 (Vaswani et al., 2017, arXiv:1706.03762, eq. 2).

    `ratio` is the hidden width over the channel count, rounded to at least one hidden channel.
    """

    ratio: Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)] = 4.0
    activation: Literal["gelu", "relu", "silu", "hard_swish"] = "gelu"

    def build(self, shape: Shape) -> nn.Module:
        """The perceptron for shape[0] channels, at any size."""
        return Perceptron(shape[0], max(1, round(shape[0] * self.ratio)), self.activation)


class Perceptron(nn.Module):
    """[b c h w] -> [b c h w]; two 1x1 convolutions with a non-linearity between."""

    sortable = {"expand": 0, "project": 1}

    def __init__(self, channels: int, hidden: int, activation: str) -> None:
        super().__init__()
        self.groups = hidden
        activations = {"gelu": nn.GELU, "relu": nn.ReLU, "silu": nn.SiLU, "hard_swish": nn.Hardswish}
        self.expand = nn.Conv2d(channels, hidden, 1)
        self.activation = activations[activation]()
        self.project = nn.Conv2d(hidden, channels, 1)

    def hidden_axes(self) -> dict[str, int]:
        """See `searchspaces.sorting.Sortable`."""
        return {"project.weight": 1, "expand.weight": 0, "expand.bias": 0}

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Each position's features, transformed."""
        return self.project(self.activation(self.expand(x)))
