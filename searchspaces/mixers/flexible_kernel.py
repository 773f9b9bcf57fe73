"""Convolution whose kernel size is learned."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn

from searchspaces.generated_convolution import GeneratedConvolution
from searchspaces.mixers._fusion import convolution_of
from searchspaces.mixers._implicit import GaborFilter, KernelReadout, MultiplicativeFilterNetwork, taps
from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import Odd, Positive
from searchspaces.part import Shape


class FlexibleKernel(TokenMixer):
    """FlexConv: a continuous kernel under a Gaussian mask of learned size (Romero et al., 2022, arXiv:2110.08059).

    Section 3: psi(p) = w(p; mu, sigma) MAGNet(p), w = exp(-sum_a (p_a - mu_a)^2 / (2 sigma_a^2)), so the size
    of the kernel has a gradient. Where the mask of an axis falls below 0.1 the kernel is cut off, as published; `fuse`
    gives the convolution of the size that was learned. Positions are in half kernels, -1 to 1 over `kernel` taps, the
    largest size that can be learned. `initial_size` is the first sigma. The paper's term in the loss that keeps the
    kernel's frequencies below the resolution's is for training across resolutions, and left out. With `causal`, as
    in the paper's sequence networks, p <= 0 alone counts, in sequences only: the mask starts at the latest position.
    """

    spatial_ranks: ClassVar[tuple[int, ...]] = (1, 2)
    kernel: Odd = 7
    hidden: Positive = 16
    layers: Annotated[int, Field(ge=1, le=8, strict=True)] = 3
    initial_size: Annotated[float, Field(gt=0, le=4, strict=True)] = 0.5
    depthwise: bool = Field(default=False, strict=True)
    causal: bool = Field(default=False, strict=True)

    def build(self, shape: Shape) -> nn.Module:
        """The convolution for shape[0] channels, at any size with as many axes."""
        kernel = (self.kernel,) * (len(shape) - 1)
        network, causal = (self.hidden, self.layers), self.causal and len(shape) == 2
        return FlexibleConvolution(shape[0], kernel, network, self.initial_size, self.depthwise, causal)


class FlexibleConvolution(nn.Module):
    """[b c h w] or [b c t] -> same shape; convolution by a masked, sampled kernel, zeros outside.

    `network` is the hidden width and the number of layers of the kernel's network.
    """

    positions: Tensor
    threshold, smallest_size = 0.1, 1e-3

    def __init__(
        self,
        channels: int,
        kernel: tuple[int, ...],
        network: tuple[int, int],
        initial_size: float,
        depthwise: bool,
        causal: bool,
    ) -> None:
        super().__init__()
        axes, (hidden, layers) = len(kernel), network
        self.kernel, self.causal = kernel, causal
        filters: list[nn.Module] = [GaborFilter(axes, hidden, math.pi * kernel[0] / 2) for _ in range(layers)]
        self.network = MultiplicativeFilterNetwork(filters, hidden)
        self.readout = KernelReadout(channels, 1 if depthwise else channels, hidden, math.prod(kernel))
        self.centre = nn.Parameter(torch.zeros(axes))
        self.size = nn.Parameter(torch.full((axes,), initial_size))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.convolution = GeneratedConvolution(channels if depthwise else 1)
        half = tuple(max(count // 2, 1) for count in kernel)
        self.register_buffer("positions", taps(kernel, half).to(self.bias.dtype), persistent=False)

    def sampled(self) -> Tensor:
        """The masked kernel [o i *kernel]; zeros where it is cut off."""
        mask = self._mask().prod(1) * self.inside().all(1)
        return (self.readout(self.network(self.positions)) * mask).unflatten(2, self.kernel)

    def inside(self) -> Bool[Tensor, "k axes"]:
        """For each tap and axis, whether the mask is above the threshold; the centre tap always counts as inside."""
        inside = (self._mask().detach() >= self.threshold) | (self.positions == 0)
        return inside & (self.positions <= 0) if self.causal else inside

    def _mask(self) -> Float[Tensor, "k axes"]:
        """The Gaussian of each axis at each tap."""
        size = self.size.abs().clamp(min=self.smallest_size)
        return (-((self.positions - self.centre) / size).square() / 2).exp()

    def forward(self, x: Float[Tensor, "b c *positions"]) -> Float[Tensor, "b c *positions"]:
        """The convolved features."""
        return self.convolution(x, self.sampled(), self.bias)

    def fuse(self) -> nn.Module:
        """The convolution of the learned size: the smallest centred kernel that holds all taps inside."""
        weight, inside = self.sampled(), self.inside()
        for axis, count in enumerate(self.kernel):
            furthest = self.positions[inside[:, axis], axis].abs().max().item()
            reach = round(furthest * max(count // 2, 1))
            weight = weight.narrow(axis + 2, count // 2 - reach, 2 * reach + 1)
        return convolution_of(weight, self.bias, self.convolution.groups)
