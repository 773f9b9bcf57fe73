"""Kernels as functions of the relative position: small networks that are sampled at the taps."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


def taps(kernel: tuple[int, ...], size: tuple[int, ...]) -> Float[Tensor, "k axes"]:
    """Relative positions of a centred kernel's taps, row by row, in units of the given size."""
    axes = [(torch.arange(count) - count // 2) / unit for count, unit in zip(kernel, size, strict=True)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, -2)


class Affine(nn.Module):
    """[k inputs] -> [k outputs]; W x + b.

    Not torch's layer, so that no quantization policy rounds positions: these networks compute weights, not features.
    """

    def __init__(self, inputs: int, outputs: int, weight_bound: float, bias_bound: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-weight_bound, weight_bound))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bias_bound, bias_bound))

    def forward(self, x: Float[Tensor, "k inputs"]) -> Float[Tensor, "k outputs"]:
        """The affine map of each row."""
        return F.linear(x, self.weight, self.bias)


class KernelReadout(nn.Module):
    """[k hidden] -> [o i k]; the last, linear layer of a kernel network.

    Fan-in initialization of the kernel that it writes: hidden features of unit
    variance give weights of variance 1 / (i k).
    """

    def __init__(self, outputs: int, inputs: int, hidden: int, taps: int) -> None:
        super().__init__()
        bound = math.sqrt(3 / (hidden * inputs * taps))
        self.weight = nn.Parameter(torch.empty(outputs, inputs, hidden).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(outputs, inputs))

    @staticmethod
    def take(name: str, shared: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Leading along all axes: the hidden axis is no kernel axis, whose centre the default would take."""
        for axis, size in enumerate(shape):
            shared = shared.narrow(axis, 0, size)
        return shared

    def forward(self, features: Float[Tensor, "k hidden"]) -> Float[Tensor, "o i k"]:
        """The kernel's values at the taps."""
        return self.weight @ features.T + self.bias[..., None]


class SineFilter(nn.Module):
    """[k axes] -> [k hidden]; sin(W p + b), the filter of a multiplicative filter network (Fathony et al., 2021)."""

    def __init__(self, axes: int, hidden: int, frequency: float) -> None:
        super().__init__()
        self.phase = Affine(axes, hidden, frequency, math.pi)

    def forward(self, positions: Float[Tensor, "k axes"]) -> Float[Tensor, "k hidden"]:
        """Waves over the positions."""
        return self.phase(positions).sin()


class GaborFilter(SineFilter):
    """[k axes] -> [k hidden]; exp(-|g (p - m)|^2 / 2) sin(W p + b): anisotropic Gabor filters.

    MAGNet of FlexConv (arXiv:2110.08059, section 3): a width g per axis. Centres start uniform over the positions,
    widths as draws of Gamma(6, 1), the sum of six exponential ones, as published.
    """

    def __init__(self, axes: int, hidden: int, frequency: float) -> None:
        super().__init__(axes, hidden, frequency)
        self.centre = nn.Parameter(torch.empty(hidden, axes).uniform_(-1, 1))
        self.width = nn.Parameter(torch.empty(6, hidden, axes).exponential_().sum(0))

    def forward(self, positions: Float[Tensor, "k axes"]) -> Float[Tensor, "k hidden"]:
        """Waves that fade away from their centres."""
        distance = (self.width * (positions[:, None] - self.centre)).square().sum(2)
        return (-distance / 2).exp() * super().forward(positions)


class MultiplicativeFilterNetwork(nn.Module):
    """[k axes] -> [k hidden]; h_1 = f_1(p), h_l = (W_l h_{l-1} + b_l) f_l(p) (Fathony et al., ICLR 2021)."""

    def __init__(self, filters: list[nn.Module], hidden: int) -> None:
        super().__init__()
        self.filters = nn.ModuleList(filters)
        bounds = math.sqrt(6 / hidden), 1 / math.sqrt(hidden)
        self.layers = nn.ModuleList(Affine(hidden, hidden, *bounds) for _ in filters[1:])

    def forward(self, positions: Float[Tensor, "k axes"]) -> Float[Tensor, "k hidden"]:
        """Features of the positions."""
        features = self.filters[0](positions)
        for layer, wave in zip(self.layers, list(self.filters)[1:], strict=True):
            features = layer(features) * wave(positions)
        return features
