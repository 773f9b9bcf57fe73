"""The head of an image classifier."""

from __future__ import annotations

from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from searchspaces.blocks._role import Block
from searchspaces.part import Shape


class Classifier(Block):
    """Normalization, average over positions, and a linear layer to one logit per class."""

    classes: Annotated[int, Field(ge=1)]

    def build(self, shape: Shape) -> nn.Module:
        """The head for [b c h w] features."""
        return ClassifierHead(shape[0], self.classes)

    def output_shape(self, shape: Shape) -> Shape:
        """One logit per class."""
        return (self.classes,)


class ClassifierHead(nn.Module):
    """Features to logits."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes"]:
        """Logits."""
        return self.linear(self.norm(x).mean((2, 3)))
