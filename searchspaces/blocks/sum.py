"""The sum of what several blocks of a graph give."""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from searchspaces.blocks._join import Join
from searchspaces.blocks._role import Block
from searchspaces.part import Shape


class Sum(Block):
    """The sum of several inputs of one shape: a node of a cell. One input alone counts as often as there should be."""

    inputs: Annotated[int, Field(ge=2)] = 2

    def build(self, shape: Shape) -> nn.Module:
        """The sum, which has no parameters."""
        return Summation(self.inputs)


class Summation(Join):
    """The sum of its inputs."""

    def joined(self, values: tuple[Float[Tensor, "b *shape"], ...]) -> Float[Tensor, "b *shape"]:
        """The same shape."""
        return reduce(add, values)
