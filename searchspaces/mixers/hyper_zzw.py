"""Convolution by kernels that a slow network generates and the features themselves modulate."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers._implicit import KernelReadout, MultiplicativeFilterNetwork, SineFilter, taps
from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import Odd, Positive
from searchspaces.part import Shape


class HyperZzw(TokenMixer):
    """HyperZ.Z.W operator between slow and fast networks (Terminator: Zhang, 2024, arXiv:2401.17948, section 3).

    A slow network, sine filters multiplied with linear layers of the coordinates, generates hyper-kernels W: one as
    large as the image, and one for each of `kernels`. Multiplied with the features Z they become context-dependent
    weights, which then meet Z: globally Y = (W . Z) Z, a matrix product per channel over rows and columns; locally the
    kernel at a position is W times Z there, Y = Z . (W * Z). The branches, standardized per sample and channel, are
    concatenated and compressed by a 1 x 1 convolution, here the sum of one per branch. The global form is also that of
    the authors' code; for the local one the operator's definition is taken, an elementwise product with W and then a
    convolution of Z: in their code the features enter the slow network and a batch has one kernel, so that samples
    meet. The gating, the channel interaction and the local loss of the slow network are left out. An image that is not
    square uses as many columns of W . Z as Z has rows, and the other way round. Nothing depends on other samples, where
    the published batch standardization does.
    """

    kernels: Annotated[tuple[Odd, ...], Field(min_length=1)] = (3, 7)
    hidden: Positive = 16
    layers: Annotated[int, Field(ge=1, le=8, strict=True)] = 3

    def build(self, shape: Shape) -> nn.Module:
        """The operator for shape[0] channels; the global kernel covers this size."""
        return SlowFastConvolution(shape[0], (shape[1], shape[2]), self.kernels, self.hidden, self.layers)


class SlowFastConvolution(nn.Module):
    """[b c h w] -> [b c h w]; a global and several local branches, compressed."""

    def __init__(
        self, channels: int, size: tuple[int, int], kernels: tuple[int, ...], hidden: int, layers: int
    ) -> None:
        super().__init__()
        self.everywhere = HyperKernel(channels, size, hidden, layers)
        self.nearby = nn.ModuleList(HyperKernel(channels, (kernel, kernel), hidden, layers) for kernel in kernels)
        self.compress = nn.ModuleList(nn.Conv2d(channels, channels, 1, bias=False) for _ in range(len(kernels) + 1))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The compressed branches."""
        branches = [self._global(x), *(self._local(x, kernel()) for kernel in self.nearby)]
        fused = [
            compress(F.layer_norm(branch, branch.shape[2:]))
            for compress, branch in zip(self.compress, branches, strict=True)
        ]
        return sum(fused[1:], start=fused[0]) + self.bias[:, None, None]

    def _global(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """(W . Z) Z over the axis that both have."""
        shared = min(x.shape[2:])
        return (x * self.everywhere())[..., :shared] @ x[:, :, :shared]

    @staticmethod
    def _local(x: Float[Tensor, "b c h w"], kernel: Float[Tensor, "c k k"]) -> Float[Tensor, "b c h w"]:
        """Z . (W * Z), zeros outside."""
        return x * F.conv2d(x, kernel[:, None], padding=kernel.shape[1] // 2, groups=x.shape[1])


class HyperKernel(nn.Module):
    """() -> [c h w]; the slow network at all coordinates, which go from -1 to 1 along both axes."""

    positions: Tensor

    def __init__(self, channels: int, size: tuple[int, int], hidden: int, layers: int) -> None:
        super().__init__()
        self.size = size
        filters: list[nn.Module] = [SineFilter(2, hidden, math.pi * max(size) / 2) for _ in range(layers)]
        self.network = MultiplicativeFilterNetwork(filters, hidden)
        self.readout = KernelReadout(channels, 1, hidden, math.prod(size))
        half = tuple(max(extent // 2, 1) for extent in size)
        positions = taps(size, half).to(self.readout.weight.dtype)
        self.register_buffer("positions", positions, persistent=False)

    def forward(self) -> Float[Tensor, "c h w"]:
        """The hyper-kernel."""
        return self.readout(self.network(self.positions)).squeeze(1).unflatten(1, self.size)
