"""Convolution of some channels; the others pass."""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from searchspaces.mixers._padding import PaddedConvolution, Padding
from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import OddPair, pair
from searchspaces.part import Shape


class PartialConvolution(TokenMixer):
    """PConv: a dense convolution of the first c_p channels, the rest untouched (FasterNet: Chen et al., 2023).

    arXiv:2303.03667, section 3: at c_p = c / 4 it multiplies 1/16 as often as a dense convolution, and moves a
    quarter of its memory. `ratio` is c_p / c, at least one channel. The pointwise convolutions that follow it in the
    paper's block are the channel mixer. (Not to be confused with the padding called partial.)
    """

    kernel: OddPair = 3
    ratio: Annotated[float, Field(gt=0, le=1, strict=True)] = 0.25
    padding: Padding = "zeros"

    def build(self, shape: Shape) -> nn.Module:
        """The convolution for shape[0] channels, at any size."""
        return LeadingConvolution(shape[0], max(1, round(shape[0] * self.ratio)), pair(self.kernel), self.padding)


class LeadingConvolution(nn.Module):
    """[b c h w] -> [b c h w]; the leading channels convolved densely."""

    def __init__(self, channels: int, convolved: int, kernel: tuple[int, int], padding: Padding) -> None:
        super().__init__()
        self.sizes = (convolved, channels - convolved)
        self.convolution = PaddedConvolution(convolved, convolved, kernel, padding=padding)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The convolved channels, then the others as they were."""
        if self.sizes[1] == 0:
            return self.convolution(x)
        leading, others = x.split(self.sizes, 1)
        return torch.cat([self.convolution(leading), others], 1)
