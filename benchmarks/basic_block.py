"""The residual block of ResNet, as a user would add it: one part and its module, in a file outside the packages.

A configuration could name it `kind: basic_block:BasicBlock`, wherever this file can be imported.
"""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.blocks._role import Block
from searchspaces.part import Shape


class BasicBlock(Block):
    """Two 3x3 convolutions and a shortcut, which is a pointwise convolution where the shape changes.

    He et al. (arXiv:1512.03385), figure 5 on the left, with the projection shortcut of option B.
    """

    width: Annotated[int, Field(ge=1)]
    stride: Annotated[int, Field(ge=1)] = 1

    def build(self, shape: Shape) -> nn.Module:
        """The block for [b c h w] features."""
        return ResidualPair(shape[0], self.width, self.stride)

    def output_shape(self, shape: Shape) -> Shape:
        """Sizes divided by the stride, rounded up."""
        return (self.width, *(math.ceil(size / self.stride) for size in shape[1:]))


class ResidualPair(nn.Module):
    """relu(norm(conv(relu(norm(conv(x))))) + shortcut(x))."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(width)
        projection = nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        self.shortcut = nn.Identity() if stride == 1 and channels == width else projection

    def forward(self, x: Tensor) -> Tensor:
        """[b c h w] -> features of the block's width and stride."""
        y = F.relu(self.first_norm(self.first(x)))
        return F.relu(self.second_norm(self.second(y)) + self.shortcut(x))
