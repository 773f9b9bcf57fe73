"""Pointwise convolutions trained in several groupings, which fold into one."""

from __future__ import annotations

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.blocks._convolution import ConvolutionNorm
from searchspaces.mixers._fusion import convolution_of, folded


class MultigroupConvolution(nn.Module):
    """[b c h w] -> [b width h w]; sum over g in `groups` of N_g(W_g x), W_g pointwise in g groups, N_g normalization.

    All of it is linear: `fuse` gives the one dense pointwise convolution that is deployed.
    """

    def __init__(self, channels: int, width: int, groups: tuple[int, ...]) -> None:
        super().__init__()
        self.branches = nn.ModuleDict({f"groups_{count}": grouped(channels, width, count) for count in groups})

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b width h w"]:
        """The sum of all branches."""
        first, *others = self.branches.values()
        y = first(x)
        for branch in others:
            y = y + branch(x)
        return y

    @torch.no_grad()
    def fuse(self) -> nn.Module:
        """The same function in evaluation mode as one pointwise convolution."""
        kernels = [folded(dense(cast(ConvolutionNorm, branch))) for branch in self.branches.values()]
        weights, biases = zip(*kernels, strict=True)
        return convolution_of(torch.stack(weights).sum(0), torch.stack(biases).sum(0))


class GroupedConvolution(nn.Module):
    """[b c h w] -> [b width h w]; a pointwise convolution in groups, the last of them padded where they do not divide.

    Channels and outputs are cut into equal groups, rounded up, so that more of either is never a smaller weight.
    """

    def __init__(self, channels: int, width: int, groups: int) -> None:
        super().__init__()
        inputs, outputs = -(-channels // groups) * groups, -(-width // groups) * groups
        self.width, self.missing = width, inputs - channels
        self.convolution = nn.Conv2d(inputs, outputs, 1, groups=groups, bias=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b width h w"]:
        """Each group's own outputs."""
        padded = F.pad(x, (0, 0, 0, 0, 0, self.missing)) if self.missing else x
        return self.convolution(padded)[:, : self.width]

    def matrix(self) -> Float[Tensor, "width c 1 1"]:
        """The weight of the dense convolution that computes the same."""
        weights = self.convolution.weight[:, :, 0, 0].chunk(self.convolution.groups)
        whole = torch.block_diag(*weights)[: self.width]
        return whole[:, : whole.shape[1] - self.missing, None, None]


def grouped(channels: int, width: int, groups: int) -> ConvolutionNorm:
    """A normalized pointwise convolution in groups."""
    convolution = GroupedConvolution(channels, width, groups)
    return ConvolutionNorm(convolution, nn.BatchNorm2d(width), nn.Identity())


def dense(branch: ConvolutionNorm) -> ConvolutionNorm:
    """The same branch with its weight as a dense one."""
    assert isinstance(branch.convolution, GroupedConvolution)
    matrix = branch.convolution.matrix()
    return ConvolutionNorm(convolution_of(matrix, matrix.new_zeros(len(matrix))), branch.norm, branch.activation)
