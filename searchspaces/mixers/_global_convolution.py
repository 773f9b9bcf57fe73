"""Convolution with kernels as long as the sequence."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers._fourier import RealFourier, Spectrum, product
from searchspaces.mixers._gated_linear import GatedLinear


class GlobalConvolution(nn.Module):
    """[b c h w] or [b c t] -> same shape; k * x + skip x for each channel, GELU, a gated linear unit over channels.

    The layer in which S4 puts its kernels (Gu et al., 2022, arXiv:2111.00396), as SGConv, LongConv and RTF do. An image
    is the sequence of its rows. `past` is a module that makes the kernel [c t] of lags 0, 1, ...; `future`, if there is
    one, makes that of lags -1, -2, ..., so that the convolution is not causal.
    """

    def __init__(self, channels: int, positions: int, past: nn.Module, future: nn.Module | None) -> None:
        super().__init__()
        self.transform = RealFourier(positions)
        self.past, self.future = past, future
        self.skip = nn.Parameter(torch.randn(channels))
        self.output = GatedLinear(channels, channels)

    def forward(self, x: Float[Tensor, "b c *positions"]) -> Float[Tensor, "b c *positions"]:
        """The mixed features."""
        sequence = x.flatten(2)
        convolved = self.transform.inverse(product(self.transform(sequence), self._spectrum()))
        tokens = F.gelu((convolved + self.skip[:, None] * sequence).transpose(1, 2))
        return self.output(tokens).transpose(1, 2).reshape(x.shape)

    def _spectrum(self) -> Spectrum:
        """The kernel's spectrum; to look into the future is to conjugate."""
        real, imaginary = self.transform(self.past())
        if self.future is None:
            return real, imaginary
        future_real, future_imaginary = self.transform(F.pad(self.future()[:, :-1], (1, 0)))
        return real + future_real, imaginary - future_imaginary
