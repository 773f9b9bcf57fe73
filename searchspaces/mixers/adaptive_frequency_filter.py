"""A filter of spatial frequencies that is computed from the spectrum itself."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers._image_fourier import FourierTransform, Spectrum
from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import Positive
from searchspaces.part import Shape


class AdaptiveFrequencyFilter(TokenMixer):
    """Adaptive frequency filtering (AFFNet: Huang et al., 2023, arXiv:2307.14008).

    y = F^-1[M(F(x)) * F(x)], by the convolution theorem a dynamic convolution as large as the image. M is a group
    linear layer, ReLU and a second one over the channels of each frequency; as in the authors' code its weights are
    complex and ReLU acts on real and imaginary part. `group_width` channels make a group: groups are added with the
    width, so that a channel keeps its own; widths that are no multiple are padded inside of M. The soft threshold and
    the second shortcut of that code, which the paper's equations lack, are left out.
    """

    group_width: Positive = 8

    def build(self, shape: Shape) -> nn.Module:
        """The filter for shape[0] channels at this size; its parameters belong to no size."""
        return AdaptiveSpectralFilter(shape[0], (shape[1], shape[2]), min(self.group_width, shape[0]))


class AdaptiveSpectralFilter(nn.Module):
    """[b c h w] -> [b c h w]; each frequency times a complex factor that its channels' spectrum decides."""

    def __init__(self, channels: int, size: tuple[int, int], group_width: int) -> None:
        super().__init__()
        groups = -(-channels // group_width)
        self.padding = groups * group_width - channels
        self.transform = FourierTransform(*size)
        self.reduce = ComplexGroupLinear(groups * group_width, groups)
        self.expand = ComplexGroupLinear(groups * group_width, groups)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The filtered features; circular at the borders."""
        real, imaginary = self.transform(x)
        mask_real, mask_imaginary = self._mask(real, imaginary)
        return self.transform.inverse(
            mask_real * real - mask_imaginary * imaginary, mask_real * imaginary + mask_imaginary * real
        )

    def _mask(self, real: Float[Tensor, "b c u v"], imaginary: Float[Tensor, "b c u v"]) -> Spectrum:
        """The factor of each channel and frequency."""
        padded = [F.pad(part, (0, 0, 0, 0, 0, self.padding)) for part in (real, imaginary)]
        hidden = [F.relu(part) for part in self.reduce(*padded)]
        mask_real, mask_imaginary = self.expand(*hidden)
        return mask_real[:, : real.shape[1]], mask_imaginary[:, : real.shape[1]]


class ComplexGroupLinear(nn.Module):
    """Complex [b c u v] -> complex [b c u v]; (A + iB)(x + iy) + a + ib at each frequency, groups apart."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.real = nn.Conv2d(channels, channels, 1, groups=groups, bias=False)
        self.imaginary = nn.Conv2d(channels, channels, 1, groups=groups, bias=False)
        self.real_bias = nn.Parameter(0.02 * torch.randn(channels, 1, 1))
        self.imaginary_bias = nn.Parameter(0.02 * torch.randn(channels, 1, 1))
        nn.init.normal_(self.real.weight, std=0.02)
        nn.init.normal_(self.imaginary.weight, std=0.02)

    def forward(self, real: Float[Tensor, "b c u v"], imaginary: Float[Tensor, "b c u v"]) -> Spectrum:
        """Real and imaginary part of the product and the bias."""
        return (
            self.real(real) - self.imaginary(imaginary) + self.real_bias,
            self.real(imaginary) + self.imaginary(real) + self.imaginary_bias,
        )
