"""Depthwise convolution: one kernel per channel, with dilation."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from searchspaces.mixers._padding import PaddedConvolution, Padding
from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import OddPair, PositivePair, pair
from searchspaces.part import Shape


class Depthwise(TokenMixer):
    """Depthwise convolution that keeps the size: its own kernel for each channel (Chollet, 2017, arXiv:1610.02357).

    y[c, i, j] = b[c] + sum_{u,v} w[c, u, v] x[c, i + d_h (u - (k_h - 1) / 2), j + d_w (v - (k_w - 1) / 2)],
    outside of the image zeros or what `padding` says: the dilated convolution of Yu and Koltun (2016, arXiv:1511.07122,
    eq. 2) on one channel.
    A smaller kernel is the centre of a larger one (Cai et al., 2020, arXiv:1908.09791, section 3.3).
    """

    kernel: OddPair = 3
    dilation: PositivePair = 1
    padding: Padding = "zeros"

    def build(self, shape: Shape) -> nn.Module:
        """The convolution for shape[0] channels, at any size."""
        return DepthwiseConvolution(shape[0], pair(self.kernel), pair(self.dilation), self.padding)


class DepthwiseConvolution(nn.Module):
    """[b c h w] -> [b c h w]; every channel alone."""

    def __init__(
        self, channels: int, kernel: tuple[int, int], dilation: tuple[int, int], padding: Padding = "zeros"
    ) -> None:
        super().__init__()
        self.convolution = PaddedConvolution(channels, channels, kernel, dilation, channels, padding)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The convolved features."""
        return self.convolution(x)
