"""Upsampling by a transposed convolution."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from searchspaces.blocks._role import Block
from searchspaces.part import Shape


class Deconvolution(Block):
    """A transposed convolution of stride 2 without bias: twice the size (Xiao et al., 2018, arXiv:1804.06208).

    Sums of them are normalized afterwards, so it does not do that itself. A kernel of 2 is the centre of one of 4.
    Quantization policies do not reach it: it computes in floating point.
    """

    width: Annotated[int, Field(ge=1)]
    kernel: Literal[2, 4] = 4

    def build(self, shape: Shape) -> nn.Module:
        """The layer for [b c h w] features."""
        return nn.ConvTranspose2d(shape[0], self.width, self.kernel, 2, (self.kernel - 2) // 2, bias=False)

    def output_shape(self, shape: Shape) -> Shape:
        """Twice the size."""
        return (self.width, *(2 * size for size in shape[1:]))
