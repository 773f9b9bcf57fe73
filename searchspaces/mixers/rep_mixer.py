"""Depthwise convolution, trained in several branches that merge into it."""

from __future__ import annotations

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from searchspaces.blocks._convolution import ConvolutionNorm, convolution_norm
from searchspaces.mixers._fusion import convolution_of, embedded, folded
from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import Odd, Positive
from searchspaces.part import Shape


class RepMixer(TokenMixer):
    """RepMixer (FastViT: Vasu et al., 2023, arXiv:2303.14189, with its training-time branches).

    y = s (M(x) - BN(x)), M the over-parameterized depthwise convolution of MobileOne (arXiv:2206.04040):
    `branches` normalized k x k kernels, a normalized 1 x 1 kernel where k > 1, and a normalized identity; s is a factor
    per channel that starts at 1e-5. All of it is linear, and `fuse` gives the one depthwise convolution that is
    deployed. The paper's own shortcut is the one of the residual block around a mixer; merging that too, one more in
    the centre of the fused kernel, is possible where the block has no normalization between.
    """

    kernel: Odd = 3
    branches: Positive = 1

    def build(self, shape: Shape) -> nn.Module:
        """The training form for shape[0] channels, at any size."""
        return ReparameterizedMixer(shape[0], self.kernel, self.branches)


class ReparameterizedMixer(nn.Module):
    """[b c h w] -> [b c h w]; a scaled sum of normalized depthwise convolutions less the normalized input."""

    def __init__(self, channels: int, kernel: int, branches: int) -> None:
        super().__init__()
        sizes = [kernel] * branches + [1] * (kernel > 1)
        self.branches = nn.ModuleList(convolution_norm(channels, channels, size, groups=channels) for size in sizes)
        self.identity = nn.BatchNorm2d(channels)
        self.norm = nn.BatchNorm2d(channels)
        self.scale = nn.Parameter(torch.full((channels, 1, 1), 1e-5))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """How far the mixed features lie above the normalized input, scaled."""
        mixed = self.identity(x) - self.norm(x)
        for branch in self.branches:
            mixed = mixed + branch(x)
        return self.scale * mixed

    @torch.no_grad()
    def fuse(self) -> nn.Module:
        """The same function in evaluation mode as one depthwise convolution."""
        kernels = [folded(cast(ConvolutionNorm, branch)) for branch in self.branches]
        size = max(weight.shape[2] for weight, _ in kernels)
        (weight, bias), (subtracted, offset) = _folded_norm(self.identity), _folded_norm(self.norm)
        weight, bias = embedded(weight - subtracted, 1, size), bias - offset
        for more, constant in kernels:
            weight, bias = weight + embedded(more, 1, size), bias + constant
        return convolution_of(self.scale[..., None] * weight, self.scale.flatten() * bias, groups=len(bias))


def _folded_norm(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Depthwise 1 x 1 kernel [c 1 1 1] and bias [c] of a normalization alone."""
    ones = torch.ones_like(norm.weight)[:, None, None, None]
    identity = convolution_of(ones, torch.zeros_like(norm.weight), norm.num_features)
    return folded(ConvolutionNorm(identity, norm, nn.Identity()))
