"""State space model given by its transfer function."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers._fourier import RealFourier, quotient
from searchspaces.mixers._global_convolution import GlobalConvolution
from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import Positive
from searchspaces.part import Shape


class RationalTransfer(TokenMixer):
    """RTF: H(z) = (b_1 z^-1 + ... + b_n z^-n) / (1 + a_1 z^-1 + ... + a_n z^-n) + h_0 (Parnichkun et al., 2024).

    arXiv:2405.06147, section 3: numerator and denominator are evaluated at roots of unity by one Fourier
    transform, whatever the `state` size n, and their quotient is the spectrum of the kernel. h_0 is the layer's skip.
    With `stable` the denominator is held inside the unit ball, and all poles inside the unit circle (the paper's
    Montel constraint). An image is the sequence of its rows; if not `causal`, a second system runs backwards.
    """

    spatial_ranks: ClassVar[tuple[int, ...]] = (1, 2)
    state: Positive = 8
    stable: bool = Field(default=True, strict=True)
    causal: bool = Field(default=False, strict=True)

    def build(self, shape: Shape) -> nn.Module:
        """The layer for shape[0] channels at exactly this size."""
        channels, positions = shape[0], math.prod(shape[1:])
        past, future = (RationalKernel(channels, positions, self.state, self.stable) for _ in range(2))
        return GlobalConvolution(channels, positions, past, None if self.causal else future)


class RationalKernel(nn.Module):
    """-> [c t]; the response to an impulse, summed over periods of at least 2 t.

    The paper's truncation length is that period. Weights start at zero, as there: the system says nothing.
    """

    def __init__(self, channels: int, positions: int, state: int, stable: bool) -> None:
        super().__init__()
        self.positions = positions
        self.transform = RealFourier(max(positions, state + 1))
        self.numerator = nn.Parameter(torch.zeros(channels, state))
        self.denominator = nn.Parameter(torch.zeros(channels, state))
        self.margin = nn.Parameter(torch.rand(channels)) if stable else None

    def forward(self) -> Float[Tensor, "c t"]:
        """The kernel."""
        numerator = F.pad(self.numerator, (1, 0))
        denominator = F.pad(self._denominator(), (1, 0), value=1.0)
        spectrum = quotient(self.transform(numerator), self.transform(denominator))
        return self.transform.inverse(spectrum)[:, : self.positions]

    def _denominator(self) -> Float[Tensor, "c n"]:
        """a_1 ... a_n: as learned, or with absolute values that sum to less than one."""
        if self.margin is None:
            return self.denominator
        return self.denominator / (self.denominator.abs().sum(1) + self.margin.abs() + 1e-6)[:, None]
