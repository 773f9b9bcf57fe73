"""Global filter: a learned factor for each spatial frequency."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from searchspaces.mixers._role import TokenMixer
from searchspaces.part import Shape


class FourierFilter(TokenMixer):
    """Learned complex factor per channel and frequency of the 2-D spectrum (GFNet: Rao et al., 2021).

    arXiv:2107.00645, section 3.2: X = F[x], X' = K * X, x' = F^-1[X'], a circular convolution as large as the image.
    K belongs to a resolution; another resolution takes the frequencies that it has (`GlobalFilter.take`).
    """

    def build(self, shape: Shape) -> nn.Module:
        """The filter for shape[0] channels at exactly this size."""
        return GlobalFilter(shape[0], shape[1], shape[2])


class GlobalFilter(nn.Module):
    """[b c h w] -> [b c h w]; irfft2(filter * rfft2(x)), with the transforms as products of real matrices.

    Complex numbers have no form in ONNX; products with the cosine and sine matrices need none. The filter's axes are
    channel, vertical frequency from -floor(h / 2) up, and horizontal frequency from 0 to floor(w / 2).
    """

    columns_cos: Tensor
    columns_sin: Tensor
    rows_cos: Tensor
    rows_sin: Tensor
    weights: Tensor

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.real = nn.Parameter(0.02 * torch.randn(channels, height, width // 2 + 1))
        self.imaginary = nn.Parameter(0.02 * torch.randn(channels, height, width // 2 + 1))
        horizontal, vertical = torch.arange(width // 2 + 1), torch.arange(height) - height // 2
        for axis, frequencies, size in (("columns", horizontal, width), ("rows", vertical, height)):
            angles = torch.outer(frequencies, torch.arange(size)).remainder(size).double() * (2 * math.pi / size)
            self.register_buffer(f"{axis}_cos", angles.cos().to(self.real.dtype), persistent=False)
            self.register_buffer(f"{axis}_sin", angles.sin().to(self.real.dtype), persistent=False)
        twice = 2.0 - (2 * horizontal % width == 0).to(self.real.dtype)
        self.register_buffer("weights", twice / (height * width), persistent=False)

    @staticmethod
    def take(name: str, shared: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The leading channels and the lowest frequencies of a filter for a larger image.

        The default, a leading slice along the second axis, would hand the zero frequency's factor to another one. A
        frequency counts periods per image, so it means the same pattern of the same image at every resolution.
        """
        channels, height, half_width = shape
        first = shared.shape[1] // 2 - height // 2
        return shared[:channels, first : first + height, :half_width]

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The filtered features; circular at the borders."""
        real, imaginary = self._spectrum(x)
        filtered_real = self.real * real - self.imaginary * imaginary
        filtered_imaginary = self.real * imaginary + self.imaginary * real
        return self._inverse(filtered_real, filtered_imaginary)

    def _spectrum(self, x: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b c h k"], Float[Tensor, "b c h k"]]:
        """Real and imaginary part of sum x[m, n] exp(-2 pi i (u m / h + v n / w))."""
        cos, sin = x @ self.columns_cos.T, x @ self.columns_sin.T
        return self.rows_cos @ cos - self.rows_sin @ sin, -(self.rows_cos @ sin) - self.rows_sin @ cos

    def _inverse(self, real: Float[Tensor, "b c h k"], imaginary: Float[Tensor, "b c h k"]) -> Float[Tensor, "b c h w"]:
        """Real image of a half spectrum: frequencies that stand for their conjugates too count twice."""
        cos = (self.rows_cos.T @ real - self.rows_sin.T @ imaginary) * self.weights
        sin = (self.rows_sin.T @ real + self.rows_cos.T @ imaginary) * self.weights
        return cos @ self.columns_cos - sin @ self.columns_sin
