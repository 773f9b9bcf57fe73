"""FMViT's block of attention and convolution side by side."""

from __future__ import annotations

from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from searchspaces.blocks._convolution import OddKernel
from searchspaces.blocks._role import Block
from searchspaces.blocks.convolutional_fusion import MultikernelFilter
from searchspaces.channel_mixers.multigroup_mlp import MultigroupMlp
from searchspaces.mixers._multigroup import MultigroupConvolution
from searchspaces.mixers.lightweight_attention import LightweightAttention
from searchspaces.part import Shape


class FrequencyMixing(Block):
    """FMB, the multi-frequency mixing block of FMViT (Tan, Geng and Xie, 2023, arXiv:2311.05707).

    Taken as its definition, from the paper's description: y = x + L(x) + H(x), z = y + gMLP(y). L is RLMHSA, attention
    to a smoothed image, for low frequencies; H(x) = M2(relu(F(M1(x)))) is local, for high ones: F the depthwise filter
    of the convolutional fusion block on `high_ratio` times the channels, and M pointwise in several groupings. The
    paper concatenates both branches and projects; a projection of a concatenation is a sum of projections, and as
    such a channel means the same whatever the widths of the branches. In inference every layer is a single one.
    """

    low: LightweightAttention = LightweightAttention()
    kernel: OddKernel = 3
    high_ratio: Annotated[float, Field(gt=0)] = 0.5
    mlp: MultigroupMlp = MultigroupMlp()

    def build(self, shape: Shape) -> nn.Module:
        """The training form for [b c h w] features."""
        high = HighFrequencies(shape[0], max(1, round(shape[0] * self.high_ratio)), self.kernel, self.mlp.groups)
        return MixedFrequencies(self.low.build(shape), high, self.mlp.build(shape))


class HighFrequencies(nn.Module):
    """[b c h w] -> [b c h w]; project(relu(filter(reduce(x))))."""

    def __init__(self, channels: int, hidden: int, kernel: int, groups: tuple[int, ...]) -> None:
        super().__init__()
        self.reduce = MultigroupConvolution(channels, hidden, groups)
        self.filter = MultikernelFilter(hidden, kernel)
        self.activation = nn.ReLU()
        self.project = MultigroupConvolution(hidden, channels, groups)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The local features."""
        return self.project(self.activation(self.filter(self.reduce(x))))


class MixedFrequencies(nn.Module):
    """y + mlp(y), y = x + low(x) + high(x)."""

    def __init__(self, low: nn.Module, high: nn.Module, mlp: nn.Module) -> None:
        super().__init__()
        self.low, self.high, self.mlp = low, high, mlp

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The same shape."""
        y = x + self.low(x) + self.high(x)
        return y + self.mlp(y)
