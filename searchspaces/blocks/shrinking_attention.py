"""LeViT's transition between stages: attention of fewer queries."""

from __future__ import annotations

import math

from torch import nn

from searchspaces.blocks._biased_attention import BiasedAttention
from searchspaces.blocks._role import Block
from searchspaces.blocks.levit_attention import Positive
from searchspaces.part import Shape


class ShrinkingAttention(Block):
    """Attention whose queries are each second position, so its output is a smaller map (LeViT, arXiv:2104.01136, 3.2).

    There is no shortcut, since the shape changes; to lose less, values are `value_ratio` = 4 times as wide as keys and
    there are C / D heads, C the channels of the input and D = `key_width`, if `heads` does not say otherwise.
    """

    width: Positive
    heads: Positive | None = None
    key_width: Positive = 16
    value_ratio: Positive = 4
    stride: Positive = 2

    def build(self, shape: Shape) -> nn.Module:
        """The attention for [b c h w] features of exactly this size."""
        heads = self.heads or max(1, shape[0] // self.key_width)
        widths = (self.key_width, self.value_ratio * self.key_width)
        return BiasedAttention(shape[0], self.width, (shape[1], shape[2]), heads, widths, self.stride)

    def output_shape(self, shape: Shape) -> Shape:
        """Sizes divided by the stride, rounded up."""
        return (self.width, *(math.ceil(size / self.stride) for size in shape[1:]))
