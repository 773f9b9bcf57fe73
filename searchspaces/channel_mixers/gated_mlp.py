"""Two-layer perceptron whose hidden features are multiplied by a gate."""

from __future__ import annotations

from typing import Annotated, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from searchspaces.channel_mixers._role import ChannelMixer
from searchspaces.part import Shape


class GatedMlp(ChannelMixer):
    """Gated feed-forward network: W2 (f(W x) * V x), without biases (Shazeer, 2020, arXiv:2002.05202, eqs. 5 and 6).

    `activation` f: sigmoid is the paper's GLU, identity Bilinear, relu ReGLU, gelu GEGLU, silu SwiGLU. `ratio` is the
    hidden width over the channel count, rounded to at least one; three matrices at 2/3 of the ratio weigh as much as
    `mlp`'s two.
    """

    ratio: Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)] = 2.5
    activation: Literal["sigmoid", "identity", "relu", "gelu", "silu"] = "silu"

    def build(self, shape: Shape) -> nn.Module:
        """The perceptron for shape[0] channels, at any size."""
        return GatedPerceptron(shape[0], max(1, round(shape[0] * self.ratio)), self.activation)


class GatedPerceptron(nn.Module):
    """[b c h w] -> [b c h w]; a gate and a value from 1x1 convolutions, their product projected back."""

    def __init__(self, channels: int, hidden: int, activation: str) -> None:
        super().__init__()
        activations = {
            "sigmoid": nn.Sigmoid,
            "identity": nn.Identity,
            "relu": nn.ReLU,
            "gelu": nn.GELU,
            "silu": nn.SiLU,
        }
        self.gate = nn.Conv2d(channels, hidden, 1, bias=False)
        self.activation = activations[activation]()
        self.value = nn.Conv2d(channels, hidden, 1, bias=False)
        self.project = nn.Conv2d(hidden, channels, 1, bias=False)

    def hidden_axes(self) -> dict[str, int]:
        """See `searchspaces.sorting.Sortable`."""
        return {"project.weight": 1, "gate.weight": 0, "value.weight": 0}

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Each position's features, transformed."""
        return self.project(self.activation(self.gate(x)) * self.value(x))
