"""Elastic input resolution, as the network's own first layer."""

from __future__ import annotations

from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.blocks._role import Block
from searchspaces.part import Shape


class Resize(Block):
    """Bilinear resize of the image to resolution x resolution.

    Once-for-All (arXiv:1908.09791) resizes in the data loader. Here the resize is part of the network, so that each
    exported model takes the original image and its measured latency holds all that it does.
    """

    resolution: Annotated[int, Field(ge=1)]

    def build(self, shape: Shape) -> nn.Module:
        """The resize for [b c h w] images; nothing where the size is right already."""
        same = shape[1:] == (self.resolution, self.resolution)
        return nn.Identity() if same else BilinearResize(self.resolution)

    def output_shape(self, shape: Shape) -> Shape:
        """Channels stay, sizes become the resolution."""
        return (shape[0], self.resolution, self.resolution)


class BilinearResize(nn.Module):
    """Bilinear interpolation with half-pixel centres."""

    def __init__(self, resolution: int) -> None:
        super().__init__()
        self.resolution = resolution

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c r r"]:
        """The resized images."""
        return F.interpolate(x, size=(self.resolution, self.resolution), mode="bilinear", align_corners=False)
