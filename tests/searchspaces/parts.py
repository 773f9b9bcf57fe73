"""Parts from outside the packages, as a user would write them."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator
from torch import nn

from searchspaces.blocks._role import Block
from searchspaces.part import Shape


class Even(Block):
    """A block with a rule across its fields."""

    a: int
    b: int

    @model_validator(mode="after")
    def _rule(self) -> Self:
        if (self.a + self.b) % 2:
            raise ValueError("a + b must be even")
        return self

    def build(self, shape: Shape) -> nn.Module:
        return nn.Identity()
