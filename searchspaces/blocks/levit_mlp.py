"""The feed-forward half of LeViT's blocks."""

from __future__ import annotations

from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from searchspaces.blocks._biased_attention import silenced
from searchspaces.blocks._convolution import convolution_norm
from searchspaces.blocks._role import Block
from searchspaces.part import Shape


class LevitMlp(Block):
    """x + N(W2 hardswish(N(W1 x))), N batch normalization (LeViT, arXiv:2104.01136, section 3.2).

    `ratio` is the hidden width over the channel count; the paper's is 2.
    """

    ratio: Annotated[float, Field(gt=0)] = 2.0

    def build(self, shape: Shape) -> nn.Module:
        """The perceptron for shape[0] channels, at any size."""
        return ResidualPerceptron(shape[0], max(1, round(shape[0] * self.ratio)))


class ResidualPerceptron(nn.Module):
    """x + project(expand(x)); two normalized 1x1 convolutions with hardswish between."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.expand = convolution_norm(channels, hidden, 1, activation="hardswish")
        self.project = silenced(convolution_norm(hidden, channels, 1))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The same shape."""
        return x + self.project(self.expand(x))
