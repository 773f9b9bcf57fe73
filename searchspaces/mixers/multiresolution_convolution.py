"""Dilated convolutions with the same two filters at every scale."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers._causal import CausalConv1d
from searchspaces.mixers._gated_linear import GatedLinear
from searchspaces.mixers._role import TokenMixer
from searchspaces.part import Shape


class MultiresolutionConvolution(TokenMixer):
    """MultiresConv: an undecimated wavelet tree with learned filters (Shi et al., 2023, arXiv:2305.01638).

    Section 3: low_0 = x, low_j and high_j the convolutions of low_{j-1} with h_0 and h_1 at dilation
    2^(j-1), y = skip x + sum_j w_j high_j + w_0 low_J for each channel; then GELU and a gated linear unit over channels
    (the paper's mixing layer). J is the smallest depth that reaches the whole sequence; memory follows the paper's
    "resolution fading", which keeps the last coefficient of each scale. An image is the sequence of its rows. If not
    `causal`, as the paper has it, the filters are centred.
    """

    spatial_ranks: ClassVar[tuple[int, ...]] = (1, 2)
    kernel: Annotated[int, Field(ge=2, strict=True)] = 3
    causal: bool = Field(default=False, strict=True)

    def build(self, shape: Shape) -> nn.Module:
        """The convolutions for shape[0] channels, as deep as this size asks for."""
        positions = math.prod(shape[1:])
        depth = max(1, math.ceil(math.log2((positions - 1) / (self.kernel - 1) + 1)))
        return WaveletTree(shape[0], self.kernel, depth, self.causal)


class WaveletTree(nn.Module):
    """[b c h w] or [b c t] -> same shape; `levels` [c depth] weighs the details, the finest first."""

    def __init__(self, channels: int, kernel: int, depth: int, causal: bool) -> None:
        super().__init__()
        self.kernel, self.depth, self.causal = kernel, depth, causal
        self.low, self.high = _filter(channels, kernel, causal), _filter(channels, kernel, causal)
        bound = math.sqrt(1 / (depth + 2))
        self.levels = nn.Parameter(torch.empty(channels, depth).uniform_(-bound, bound))
        self.coarse = nn.Parameter(torch.empty(channels).uniform_(-bound, bound))
        self.skip = nn.Parameter(torch.empty(channels).uniform_(-bound, bound))
        self.output = GatedLinear(channels, channels)

    def forward(self, x: Float[Tensor, "b c *positions"]) -> Float[Tensor, "b c *positions"]:
        """The mixed features."""
        low = x.flatten(2)
        y = self.skip[:, None] * low
        for level in range(self.depth):
            padded = F.pad(low, self._padding(2**level))
            y = y + self.levels[:, level, None] * self._convolve(padded, self.high.weight, 2**level)
            low = self._convolve(padded, self.low.weight, 2**level)
        tokens = F.gelu(y + self.coarse[:, None] * low).transpose(1, 2)
        return self.output(tokens).transpose(1, 2).reshape(x.shape)

    def _padding(self, dilation: int) -> tuple[int, int]:
        """Zeros before and after the sequence."""
        reach = dilation * (self.kernel - 1)
        return (reach, 0) if self.causal else (reach - reach // 2, reach // 2)

    def _convolve(self, padded: Float[Tensor, "b c _"], weight: Float[Tensor, "c 1 k"], dilation: int) -> Tensor:
        """[b c t]: each channel convolved by itself."""
        return F.conv1d(padded, weight, dilation=dilation, groups=weight.shape[0])


def _filter(channels: int, kernel: int, causal: bool) -> nn.Conv1d:
    """The holder of a filter that is applied at several dilations; its class says how a shorter one is cut from it."""
    if causal:
        layer: nn.Conv1d = CausalConv1d(channels, kernel, bias=False)
    else:
        layer = nn.Conv1d(channels, channels, kernel, groups=channels, bias=False)
    nn.init.uniform_(layer.weight, -(kernel**-0.5), kernel**-0.5)
    return layer
