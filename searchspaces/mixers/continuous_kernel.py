"""Convolution whose kernel is a function of the relative position, sampled at any size."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from searchspaces.generated_convolution import GeneratedConvolution
from searchspaces.mixers._fusion import convolution_of
from searchspaces.mixers._implicit import Affine, KernelReadout, taps
from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import Odd, Positive
from searchspaces.part import Shape


class ContinuousKernel(TokenMixer):
    """CKConv: the kernel is a small network of the relative position (Romero et al., 2022, arXiv:2102.02611).

    Section 4: psi(p) = W_3 sin(w_0 [W_2 sin(w_0 [W_1 p + b_1]) + b_2]) + b_3 gives [outputs, inputs] at each p.
    Positions are measured in image sizes, so the kernel means the same pattern at every resolution, and sizes of
    `kernel` are crops of one function at one parameter count; 2 size - 1 and more see the whole input. With `causal`
    p <= 0 alone counts, in sequences only. `depthwise` is the separable form of Knigge et al. (2023,
    arXiv:2301.10540). The kernel is applied directly, not by FFT: it is a plain convolution once it is sampled
    (`fuse`), and the FFT pays only for thousands of taps.
    """

    spatial_ranks: ClassVar[tuple[int, ...]] = (1, 2)
    kernel: Odd = 7
    hidden: Positive = 16
    frequency: Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)] = 10.0
    """w_0, the paper's prior on how fast the kernel varies."""
    depthwise: bool = Field(default=False, strict=True)
    causal: bool = Field(default=False, strict=True)

    def build(self, shape: Shape) -> nn.Module:
        """The convolution for shape[0] channels; positions are measured in sizes of this shape."""
        size = tuple(min(self.kernel, 2 * extent - 1) for extent in shape[1:])
        causal = self.causal and len(shape) == 2
        return ContinuousConvolution(shape[0], size, shape[1:], self.hidden, self.frequency, self.depthwise, causal)


class ContinuousConvolution(nn.Module):
    """[b c h w] or [b c t] -> same shape; convolution by a sampled kernel, zeros outside."""

    positions: Tensor

    def __init__(
        self,
        channels: int,
        kernel: tuple[int, ...],
        size: tuple[int, ...],
        hidden: int,
        frequency: float,
        depthwise: bool,
        causal: bool,
    ) -> None:
        super().__init__()
        self.kernel, self.causal = kernel, causal
        inputs = 1 if depthwise else channels
        self.network = SineNetwork(len(kernel), hidden, frequency)
        self.readout = KernelReadout(channels, inputs, hidden, math.prod(kernel))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.convolution = GeneratedConvolution(channels if depthwise else 1)
        self.register_buffer("positions", taps(kernel, size).to(self.bias.dtype), persistent=False)

    def sampled(self) -> Tensor:
        """The kernel [o i *kernel]."""
        weight = self.readout(self.network(self.positions)).unflatten(2, self.kernel)
        return weight * (self.positions.view(self.kernel) <= 0) if self.causal else weight

    def forward(self, x: Float[Tensor, "b c *positions"]) -> Float[Tensor, "b c *positions"]:
        """The convolved features."""
        return self.convolution(x, self.sampled(), self.bias)

    def fuse(self) -> nn.Module:
        """The convolution with the kernel as it is now, without the network."""
        return convolution_of(self.sampled(), self.bias, self.convolution.groups)


class SineNetwork(nn.Module):
    """[k axes] -> [k hidden]; two layers with sine activations (SIREN: Sitzmann et al., 2020, arXiv:2006.09661)."""

    def __init__(self, axes: int, hidden: int, frequency: float) -> None:
        super().__init__()
        self.frequency = frequency
        self.first = Affine(axes, hidden, 1 / axes, 1 / math.sqrt(axes))
        self.second = Affine(hidden, hidden, math.sqrt(6 / hidden) / frequency, 1 / math.sqrt(hidden))

    def forward(self, positions: Float[Tensor, "k axes"]) -> Float[Tensor, "k hidden"]:
        """Features of the positions."""
        features = (self.frequency * self.first(positions)).sin()
        return (self.frequency * self.second(features)).sin()
