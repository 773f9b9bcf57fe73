"""The head of a transformer."""

from __future__ import annotations

from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from searchspaces.blocks._residual import TokenNorm
from searchspaces.blocks._role import Block
from searchspaces.blocks.attention_layer import Epsilon
from searchspaces.part import Shape


class TokenClassifier(Block):
    """Normalization, and a linear layer on the class token or the mean of all tokens (ViT, arXiv:2010.11929, eq. 4)."""

    classes: Annotated[int, Field(ge=1)]
    class_token: bool = True
    """Reads the first token; else the mean of the normalized tokens."""
    epsilon: Epsilon = 1e-5
    """Of the layer normalization."""

    def build(self, shape: Shape) -> nn.Module:
        """The head for tokens [b c t 1]."""
        return TokenHead(shape[0], self.classes, self.class_token, self.epsilon)

    def output_shape(self, shape: Shape) -> Shape:
        """One logit per class."""
        return (self.classes,)


class TokenHead(nn.Module):
    """Tokens to logits."""

    def __init__(self, channels: int, classes: int, class_token: bool, epsilon: float) -> None:
        super().__init__()
        self.class_token = class_token
        self.norm = TokenNorm(channels, epsilon)
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Float[Tensor, "b c t 1"]) -> Float[Tensor, "b classes"]:
        """Logits."""
        read = x[:, :, :1] if self.class_token else x
        return self.linear(self.norm(read).mean((2, 3)))
