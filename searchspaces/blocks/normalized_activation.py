"""What follows a sum of layers that do not normalize."""

from __future__ import annotations

from torch import nn

from searchspaces.blocks._convolution import ACTIVATIONS, Activation
from searchspaces.blocks._role import Block
from searchspaces.part import Shape


class NormalizedActivation(Block):
    """Batch normalization, then an activation."""

    activation: Activation = "relu"

    def build(self, shape: Shape) -> nn.Module:
        """The layer for [b c h w] features."""
        return nn.Sequential(nn.BatchNorm2d(shape[0]), ACTIVATIONS[self.activation]())
