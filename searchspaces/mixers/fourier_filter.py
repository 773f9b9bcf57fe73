"""Global filter: a learned factor for each spatial frequency."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from searchspaces.mixers._image_fourier import FourierTransform
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
    """[b c h w] -> [b c h w]; irfft2(filter * rfft2(x)).

    The filter's axes are channel, vertical frequency from -floor(h / 2) up, and horizontal frequency from 0 to
    floor(w / 2).
    """

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.real = nn.Parameter(0.02 * torch.randn(channels, height, width // 2 + 1))
        self.imaginary = nn.Parameter(0.02 * torch.randn(channels, height, width // 2 + 1))
        self.transform = FourierTransform(height, width)

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
        real, imaginary = self.transform(x)
        filtered_real = self.real * real - self.imaginary * imaginary
        filtered_imaginary = self.real * imaginary + self.imaginary * real
        return self.transform.inverse(filtered_real, filtered_imaginary)
