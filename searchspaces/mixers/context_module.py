"""Dilated convolutions in a row, each seeing further than the one before."""

from __future__ import annotations

from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers._padding import PaddedConvolution, Padding
from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import OddPair, PositivePair, pair
from searchspaces.part import Shape


class ContextModule(TokenMixer):
    """Context aggregation by dilated convolutions, the basic form (Yu and Koltun, 2016, arXiv:1511.07122, section 3).

    Dense convolutions of table 1's dilations, each followed by ReLU, and a pointwise one at the end. All start as the
    identity (eq. 4): a fresh module hands on what is positive. The receptive field is 1 + sum of (kernel - 1) dilation,
    67 positions at the defaults, with no loss of resolution.
    """

    kernel: OddPair = 3
    dilations: Annotated[tuple[PositivePair, ...], Field(min_length=1)] = (1, 1, 2, 4, 8, 16, 1)
    padding: Padding = "zeros"

    def build(self, shape: Shape) -> nn.Module:
        """The module for shape[0] channels, at any size."""
        dilations = tuple(pair(dilation) for dilation in self.dilations)
        return DilatedContext(shape[0], pair(self.kernel), dilations, self.padding)


class DilatedContext(nn.Module):
    """[b c h w] -> [b c h w]; convolutions of the given dilations in a row."""

    def __init__(
        self, channels: int, kernel: tuple[int, int], dilations: tuple[tuple[int, int], ...], padding: Padding
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            PaddedConvolution(channels, channels, kernel, dilation, padding=padding) for dilation in dilations
        )
        self.output = nn.Conv2d(channels, channels, 1)
        for layer in (*self.layers, self.output):
            nn.init.dirac_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The features with their context."""
        for layer in self.layers:
            x = F.relu(layer(x))
        return self.output(x)
