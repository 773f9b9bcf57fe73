"""A block that is an operator and nothing else."""

from __future__ import annotations

from torch import nn

from searchspaces.blocks._role import Block
from searchspaces.channel_mixers._role import ChannelMixer
from searchspaces.gates._role import Gate
from searchspaces.mixers._role import TokenMixer
from searchspaces.part import Shape


class BareOperator(Block):
    """The operator without norm and shortcut: for measuring it."""

    operator: TokenMixer | ChannelMixer | Gate

    def build(self, shape: Shape) -> nn.Module:
        """The operator's module."""
        return self.operator.build(shape)
