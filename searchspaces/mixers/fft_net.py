"""Spectrum times a filter that depends on the mean token, with a nonlinearity among frequencies."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers._image_fourier import FourierTransform
from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import Positive
from searchspaces.part import Shape


class FftNet(TokenMixer):
    """Adaptive spectral filtering (FFTNet: Fein-Ashley, 2025, arXiv:2502.18394).

    F = FFT(x) over the tokens; the mean token c gives W = W_base + MLP(c); F' = W * F; every frequency goes through
    modReLU(z) = relu(|z| + b) z / |z|; y is the inverse transform. The filter is real, one for each frequency and head;
    `head_width` channels make a head, so that heads are added with the width. Orthonormal transforms, W_base = 1 and
    b = -0.1 at the start are the authors' code's; its GELU of |z| and its normalization and shortcut, which the block
    has, are not. Images are transformed along both axes, where the authors flatten patches into one sequence. Filters
    belong to a size; another size takes the frequencies that it has (`AdaptiveFourierMixer.take`).
    """

    spatial_ranks: ClassVar[tuple[int, ...]] = (1, 2)
    head_width: Positive = 16

    def build(self, shape: Shape) -> nn.Module:
        """The mixer for shape[0] channels at exactly this size."""
        size = (shape[1], shape[2]) if len(shape) == 3 else (1, shape[1])
        return AdaptiveFourierMixer(shape[0], size, min(self.head_width, shape[0]))


class AdaptiveFourierMixer(nn.Module):
    """[b c h w] or [b c t] -> same shape; filter and threshold for each head and frequency.

    `floor` keeps the derivative of |z| finite at zero.
    """

    floor = 1e-6

    def __init__(self, channels: int, size: tuple[int, int], head_width: int) -> None:
        super().__init__()
        self.size, self.head_width = size, head_width
        bins = (-(-channels // head_width), size[0], size[1] // 2 + 1)
        self.transform = FourierTransform(*size)
        self.hidden = nn.Linear(channels, channels)
        self.base = nn.Parameter(torch.ones(bins))
        self.adaptation = nn.Parameter(0.02 * torch.randn(*bins, channels))
        self.threshold = nn.Parameter(torch.full(bins, -0.1))

    @staticmethod
    def take(name: str, shared: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The leading heads (and hidden features) and the lowest frequencies of parameters for a larger image.

        The default, a leading slice along the second axis, would hand the zero frequency's factor to another one.
        """
        heads, height, half_width, *hidden = shape
        first = shared.shape[1] // 2 - height // 2
        low = shared[:heads, first : first + height, :half_width]
        return low[..., : hidden[0]] if hidden else low

    def forward(self, x: Float[Tensor, "b c *positions"]) -> Float[Tensor, "b c *positions"]:
        """The filtered features; circular at the borders."""
        image = x.reshape(*x.shape[:2], *self.size)
        hidden = F.gelu(self.hidden(image.mean((2, 3))))
        factor = self._channels(self.base + (self.adaptation @ hidden.T).movedim(-1, 0), x.shape[1])
        real, imaginary = (factor * part for part in self.transform(image))
        magnitude = (real.square() + imaginary.square() + self.floor**2).sqrt()
        gain = F.relu(magnitude + self._channels(self.threshold[None], x.shape[1])) / magnitude
        return self.transform.inverse(gain * real, gain * imaginary).reshape(x.shape)

    def _channels(self, heads: Float[Tensor, "b n u v"], channels: int) -> Float[Tensor, "b c u v"]:
        """Each head's values for all of its channels."""
        return heads.repeat_interleave(self.head_width, 1)[:, :channels]
