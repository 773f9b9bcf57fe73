"""Large-kernel depthwise convolution with dilated branches that merge into it."""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from searchspaces.blocks._convolution import ConvolutionNorm
from searchspaces.mixers._fusion import convolution_of, embedded, folded
from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import Odd
from searchspaces.part import Shape

BRANCHES = {
    5: ((3, 1), (3, 2)),
    7: ((5, 1), (3, 2), (3, 3)),
    9: ((5, 1), (5, 2), (3, 3), (3, 4)),
    11: ((5, 1), (5, 2), (3, 3), (3, 4), (3, 5)),
    13: ((5, 1), (7, 2), (3, 3), (3, 4), (3, 5)),
    15: ((5, 1), (7, 2), (3, 3), (3, 5), (3, 7)),
    17: ((5, 1), (9, 2), (3, 4), (3, 5), (3, 7)),
}
"""Kernel size and dilation of the branches beside each large kernel, as published."""


class LargeKernel(TokenMixer):
    """Dilated re-parameterization block (UniRepLKNet: Ding et al., 2024, arXiv:2311.15599, section 3.1, guideline 2).

    y = BN(W_K * x) + sum_r BN_r(w_r *_r x), all depthwise: small kernels, one of them dense and the others dilated by
    r, help a large one to learn, and `fuse` merges all into the one kernel of size K that is deployed. Kernels below 5
    have no branches; those above 17 have the branches of 17. A branch of one dilation is shared by all large kernels.
    The gate and the feed-forward network of the paper's block are parts of their own.
    """

    kernel: Annotated[Odd, Field(le=63)] = 13

    def build(self, shape: Shape) -> nn.Module:
        """The training form for shape[0] channels, at any size."""
        return DilatedReparameterization(shape[0], self.kernel, BRANCHES.get(min(self.kernel, 17), ()))


class DilatedReparameterization(nn.Module):
    """[b c h w] -> [b c h w]; the sum of normalized depthwise convolutions, zeros outside."""

    def __init__(self, channels: int, kernel: int, branches: tuple[tuple[int, int], ...]) -> None:
        super().__init__()
        self.large = _normalized(channels, kernel, 1)
        self.branches = nn.ModuleDict({str(step): _normalized(channels, size, step) for size, step in branches})

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The sum of all branches."""
        y = self.large(x)
        for branch in self.branches.values():
            y = y + branch(x)
        return y

    @torch.no_grad()
    def fuse(self) -> nn.Module:
        """The same function in evaluation mode as one depthwise convolution."""
        weight, bias = folded(self.large)
        for dilation, branch in self.branches.items():
            assert isinstance(branch, ConvolutionNorm)
            more, offset = folded(branch)
            weight, bias = weight + embedded(more, int(dilation), weight.shape[2]), bias + offset
        return convolution_of(weight, bias, groups=len(bias))


def _normalized(channels: int, kernel: int, dilation: int) -> ConvolutionNorm:
    """A depthwise convolution that keeps the size, and batch normalization."""
    margin = dilation * (kernel // 2)
    convolution = nn.Conv2d(channels, channels, kernel, 1, margin, dilation, channels, bias=False)
    return ConvolutionNorm(convolution, nn.BatchNorm2d(channels), nn.Identity())
