"""The attention of LeViT's stages."""

from __future__ import annotations

from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from searchspaces.blocks._biased_attention import BiasedAttention, silenced
from searchspaces.blocks._role import Block
from searchspaces.part import Shape

Positive = Annotated[int, Field(ge=1)]


class LevitAttention(Block):
    """x + attention(x) with a bias for each head and offset (LeViT: Graham et al., 2021, arXiv:2104.01136, 3.2).

    Keys are narrow, D = `key_width` channels a head, and values `value_ratio` times as wide. Every linear map is
    followed by batch normalization, the last one of weight zero at first, and hardswish acts on the attended values.
    The number of positions in the bias table is that of the map; a smaller map takes its smallest offsets.
    """

    heads: Positive = 4
    key_width: Positive = 16
    value_ratio: Positive = 2

    def build(self, shape: Shape) -> nn.Module:
        """The attention for [b c h w] features of exactly this size."""
        channels, size = shape[0], (shape[1], shape[2])
        widths = (self.key_width, self.value_ratio * self.key_width)
        return ResidualAttention(BiasedAttention(channels, channels, size, self.heads, widths))


class ResidualAttention(nn.Module):
    """x + attention(x)."""

    def __init__(self, attention: BiasedAttention) -> None:
        super().__init__()
        self.attention = attention
        silenced(attention.output)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The same shape."""
        return x + self.attention(x)
