"""Convolution of long sequences through their spectra, in real numbers and matrix products alone."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

Spectrum = tuple[Tensor, Tensor]
"""Real and imaginary part, each [... half fast]: half of the frequencies, those of the other half are conjugate."""


class RealFourier(nn.Module):
    """Discrete Fourier transform of real sequences of `length`, padded with zeros to `total`, at least twice that.

    total = slow * fast, positions fast p + q, frequencies k + slow l: transforms of length `slow` over p, a rotation by
    k q / total, transforms of length `fast` over q (Cooley and Tukey, 1965; the order-2 Butterfly decomposition of
    FlashButterfly, arXiv:2302.06646). Of order t^1.5, and the same graph where it is trained, counted, exported and
    run: ONNX has no complex numbers, and onnxruntime's DFT operator was 50 times slower than this and wrong in the
    third decimal at 3,136 positions. The kernel of a convolution needs no order among frequencies.
    """

    first: Tensor
    second: Tensor
    cos: Tensor
    sin: Tensor
    inverse_first: Tensor

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length, self.fast = length, max(1, round(math.sqrt(length / 2)))
        slow = -(-2 * length // self.fast)
        self.rows, self.total = -(-length // self.fast), slow * self.fast
        p, q, k = torch.arange(self.rows), torch.arange(self.fast), torch.arange(slow // 2 + 1)
        weights = 2.0 - (2 * k % slow == 0).double()
        first_cos, first_sin = _waves(p, k, slow)
        rotation_cos, rotation_sin = _waves(q, k, self.total)
        cos, sin = _waves(q, q, self.fast)
        constants = {
            "first": torch.cat([first_cos, -first_sin], 1),
            "cos": rotation_cos,
            "sin": -rotation_sin,
            "second": torch.cat([torch.cat([cos, -sin], 1), torch.cat([sin, cos], 1)], 0),
            "inverse_first": torch.cat([weights * first_cos, -weights * first_sin], 1).T / self.total,
        }
        for name, constant in constants.items():
            self.register_buffer(name, constant.to(torch.get_default_dtype()), persistent=False)

    def forward(self, x: Float[Tensor, "*batch t"]) -> Spectrum:
        """The spectrum of sequences that are padded with zeros."""
        padded = F.pad(x, (0, self.rows * self.fast - x.shape[-1]))
        real, imaginary = (padded.unflatten(-1, (self.rows, self.fast)).transpose(-1, -2) @ self.first).chunk(2, -1)
        rotated = [real * self.cos - imaginary * self.sin, real * self.sin + imaginary * self.cos]
        real, imaginary = (torch.cat(rotated, -2).transpose(-1, -2) @ self.second).chunk(2, -1)
        return real, imaginary

    def inverse(self, spectrum: Spectrum) -> Float[Tensor, "*batch t"]:
        """The first `length` numbers of the real sequences that have these spectra."""
        rotated = torch.cat(spectrum, -1) @ self.second.T
        real, imaginary = rotated.transpose(-1, -2).chunk(2, -2)
        turned = [real * self.cos + imaginary * self.sin, imaginary * self.cos - real * self.sin]
        return (torch.cat(turned, -1) @ self.inverse_first).transpose(-1, -2).flatten(-2)[..., : self.length]


def product(one: Spectrum, other: Spectrum) -> Spectrum:
    """The spectrum of the convolution of two sequences."""
    return one[0] * other[0] - one[1] * other[1], one[0] * other[1] + one[1] * other[0]


def quotient(one: Spectrum, other: Spectrum) -> Spectrum:
    """The spectrum of what, convolved with the second sequence, gives the first."""
    real, imaginary = product(one, (other[0], -other[1]))
    power = other[0].square() + other[1].square()
    return real / power, imaginary / power


def _waves(positions: Tensor, frequencies: Tensor, period: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine of 2 pi position frequency / period, in float64."""
    angles = torch.outer(positions, frequencies).remainder(period).double() * (2 * math.pi / period)
    return angles.cos(), angles.sin()
