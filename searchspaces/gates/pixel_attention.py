"""One factor for each channel at each position."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from searchspaces.gates._role import Gate
from searchspaces.part import Shape


class PixelAttention(Gate):
    """x * sigmoid(W x + b), W a 1x1 convolution (PAN: Zhao et al., 2020, arXiv:2010.01073).

    The attention map is as large as the features. The paper's blocks around it, a self-calibrated convolution and an
    upsampling, are no part of the gate.
    """

    def build(self, shape: Shape) -> nn.Module:
        """The gate for shape[0] channels, at any size."""
        return PixelGate(shape[0])


class PixelGate(nn.Module):
    """[b c h w] -> [b c h w]; one factor between 0 and 1 per sample, channel and position."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The input, each number scaled."""
        return x * self.attention(x).sigmoid()
