"""A gated linear unit in the place of attention."""

from __future__ import annotations

from typing import Annotated, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from searchspaces.mixers._role import TokenMixer
from searchspaces.part import Shape


class Activator(TokenMixer):
    """Activator gating unit (Abdullah and Aydin, 2024, arXiv:2405.15953): W3 (norm(f(W1 x)) * norm(W2 x)).

    It stands where a transformer has attention. As published it acts on each token's features alone: what positions
    exchange is what the tokens, patches of the image, hold already, so among token mixers this is the one without an
    exchange but with features of second order. `activation` f: gelu is the paper's GEGLU, silu SwiGLU, relu ReGLU;
    `ratio` is the hidden width over the channel count. One layer normalization serves both factors, as in the authors'
    code. Whether a second, plain perceptron follows is the network's choice.
    """

    ratio: Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)] = 2.0
    activation: Literal["gelu", "silu", "relu"] = "gelu"

    def build(self, shape: Shape) -> nn.Module:
        """The unit for shape[0] channels, at any size."""
        return ActivatorGatingUnit(shape[0], max(1, round(shape[0] * self.ratio)), self.activation)


class ActivatorGatingUnit(nn.Module):
    """[b c h w] -> [b c h w]; the product of two normalized projections, one of them activated, projected back."""

    def __init__(self, channels: int, hidden: int, activation: str) -> None:
        super().__init__()
        activations = {"gelu": nn.GELU, "silu": nn.SiLU, "relu": nn.ReLU}
        self.gate = nn.Linear(channels, hidden)
        self.activation = activations[activation]()
        self.value = nn.Linear(channels, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.project = nn.Linear(hidden, channels)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Each position's features, transformed."""
        tokens = x.permute(0, 2, 3, 1)
        gate, value = self.norm(self.activation(self.gate(tokens))), self.norm(self.value(tokens))
        return self.project(gate * value).permute(0, 3, 1, 2)
