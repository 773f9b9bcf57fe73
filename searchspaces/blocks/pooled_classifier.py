"""The head of the published cell networks."""

from __future__ import annotations

from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from searchspaces.blocks._role import Block
from searchspaces.part import Shape


class PooledClassifier(Block):
    """Average over positions and a linear layer: DARTS's head; behind normalization and ReLU: NAS-Bench-201's."""

    classes: Annotated[int, Field(ge=1)]
    normalized: bool = False
    """Batch normalization and ReLU first."""

    def build(self, shape: Shape) -> nn.Module:
        """The head for [b c h w] features."""
        norm = nn.Sequential(nn.BatchNorm2d(shape[0]), nn.ReLU()) if self.normalized else nn.Identity()
        return PooledHead(norm, nn.Linear(shape[0], self.classes))

    def output_shape(self, shape: Shape) -> Shape:
        """One logit per class."""
        return (self.classes,)


class PooledHead(nn.Module):
    """linear(mean(norm(x)))."""

    def __init__(self, norm: nn.Module, linear: nn.Module) -> None:
        super().__init__()
        self.norm, self.linear = norm, linear

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes"]:
        """Logits."""
        return self.linear(self.norm(x).mean((2, 3)))
