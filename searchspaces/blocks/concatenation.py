"""The channels of what several blocks of a graph give, side by side."""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from searchspaces.blocks._join import Join
from searchspaces.blocks._role import Block
from searchspaces.part import Shape


class Concatenation(Block):
    """The channels of several inputs of one shape: the output of a cell.

    One input alone counts as often as there should be.
    """

    inputs: Annotated[int, Field(ge=2)] = 2

    def build(self, shape: Shape) -> nn.Module:
        """The concatenation, which has no parameters."""
        return ChannelConcatenation(self.inputs)

    def output_shape(self, shape: Shape) -> Shape:
        """As many times the channels of one input."""
        return (self.inputs * shape[0], *shape[1:])


class ChannelConcatenation(Join):
    """Its inputs along the channels."""

    def joined(self, values: tuple[Float[Tensor, "b c *size"], ...]) -> Float[Tensor, "b c2 *size"]:
        """The same size."""
        return torch.cat(values, 1)
