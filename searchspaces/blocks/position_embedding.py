"""Learned absolute positions."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.blocks._role import Block
from searchspaces.part import Shape


class PositionEmbedding(Block):
    """Adds a learned vector to each position (ViT, arXiv:2010.11929, equation 1, on a grid)."""

    def build(self, shape: Shape) -> nn.Module:
        """The table for [b c h w] features of this size."""
        return PositionTable(*shape)


class PositionTable(nn.Module):
    """[b c h w] -> [b c h w]; x + table, drawn at first from a normal distribution cut at two deviations of 0.02."""

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(channels, height, width))
        nn.init.trunc_normal_(self.table, std=0.02, a=-0.04, b=0.04)

    @staticmethod
    def take(name: str, shared: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The leading channels, and for another grid the values in between, bilinearly.

        A position is a place in the image, not a number: a coarser grid covers the same image with fewer positions, so
        leading rows and columns would be a corner of it. ViT's section 3.2 resizes its table like this.
        """
        table = shared[: shape[0]]
        if table.shape == shape:
            return table
        return F.interpolate(table[None], shape[1:], mode="bilinear", align_corners=False)[0]

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The features with their positions."""
        return x + self.table
