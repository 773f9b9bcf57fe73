"""Depthwise convolution whose kernel is interpolated between points that move."""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.generated_convolution import GeneratedConvolution
from searchspaces.mixers._fusion import convolution_of
from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import Odd, Positive
from searchspaces.part import Shape


class SelfMovingPoints(TokenMixer):
    """SMPConv: a large depthwise kernel from a few learned points (Kim and Park, 2023, arXiv:2304.02330).

    Section 3: the kernel at p is the mean over the points i in reach of w_i g(p), with g(p) = 1 - |p - p_i|_1 / r_i and
    in reach where that is above zero. Positions p_i in [-1, 1]^2 and radii r_i are learned and shared by all channels,
    each channel has its weights. The parameters do not grow with `kernel`, the number of taps at which the function is
    read. The mean is the paper's and that of the authors' code for sequences and small images; their code for ImageNet
    has the sum in its place. The small convolution beside it in the paper's network is left out.
    """

    kernel: Annotated[Odd, Field(le=63)] = 11
    points: Positive = 16

    def build(self, shape: Shape) -> nn.Module:
        """The convolution for shape[0] channels, at any size."""
        return PointConvolution(shape[0], self.kernel, self.points)


class PointConvolution(nn.Module):
    """[b c h w] -> [b c h w]; depthwise convolution by the interpolated kernel, zeros outside.

    Published initialization: positions normal with deviation 0.2, a radius of 4 / kernel, weights normal with 0.02.
    """

    smallest_radius = 1e-3

    def __init__(self, channels: int, kernel: int, points: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.position = nn.Parameter((0.2 * torch.randn(points, 2)).clamp(-1, 1))
        self.radius = nn.Parameter(torch.full((points,), 4 / kernel))
        self.weight = nn.Parameter(0.02 * torch.randn(channels, points))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.convolution = GeneratedConvolution(channels)

    def sampled(self) -> Float[Tensor, "c 1 k k"]:
        """The kernel at the taps, which span [-1, 1] on both axes."""
        taps = torch.linspace(-1, 1, self.kernel, dtype=self.weight.dtype, device=self.weight.device)
        taps = taps if self.kernel > 1 else torch.zeros_like(taps)
        down, right = ((taps[:, None] - self.position[:, axis]).abs() for axis in (0, 1))
        distance = down[:, None] + right
        near = F.relu(1 - distance / self.radius.clamp(self.smallest_radius, 1.0))
        shares = near / (near > 0).sum(2, keepdim=True).clamp(min=1)
        return (shares @ self.weight.T).permute(2, 0, 1)[:, None]

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The convolved features."""
        return self.convolution(x, self.sampled(), self.bias)

    def fuse(self) -> nn.Module:
        """The depthwise convolution with the kernel as it is now, without the points."""
        return convolution_of(self.sampled(), self.bias, len(self.bias))
