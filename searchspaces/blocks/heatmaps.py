"""The head of a network that gives a map for each output, such as the places of a body's joints."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import nn

from searchspaces.blocks._convolution import OddKernel, convolution_norm
from searchspaces.blocks._role import Block
from searchspaces.part import Shape


class Heatmaps(Block):
    """Depthwise convolution, normalization, ReLU, pointwise convolution (Lite Pose, arXiv:2205.01271, its final layer).

    Without a last bias, as published.
    """

    maps: Annotated[int, Field(ge=1)]
    kernel: OddKernel = 5

    def build(self, shape: Shape) -> nn.Module:
        """The head for [b c h w] features."""
        depthwise = convolution_norm(shape[0], shape[0], self.kernel, groups=shape[0], activation="relu")
        return nn.Sequential(depthwise, nn.Conv2d(shape[0], self.maps, 1, bias=False))

    def output_shape(self, shape: Shape) -> Shape:
        """One map for each output, of the features' size."""
        return (self.maps, *shape[1:])
