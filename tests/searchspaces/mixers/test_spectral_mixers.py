"""Mixers in the frequency domain against the libraries' complex transforms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.fft
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers._image_fourier import FourierTransform
from searchspaces.mixers.adaptive_frequency_filter import AdaptiveFrequencyFilter
from searchspaces.mixers.fft_net import FftNet
from searchspaces.mixers.spectral_pooling import SpectralPooling
from tests.searchspaces.twins import (
    depthwise,
    twin_of,
)

SIZES = [(1, 1), (1, 6), (5, 1), (4, 6), (5, 7), (7, 4), (2, 2)]


@pytest.mark.parametrize("size", SIZES)
def test_the_transform_is_scipys_and_goes_back(size: tuple[int, int]) -> None:
    transform, x = FourierTransform(*size), torch.randn(2, 3, *size)
    real, imaginary = transform(x)
    expected = scipy.fft.fftshift(scipy.fft.rfft2(x.numpy(), norm="ortho"), axes=-2)
    np.testing.assert_allclose(real.numpy() + 1j * imaginary.numpy(), expected, rtol=0, atol=1e-13)
    torch.testing.assert_close(transform.inverse(real, imaginary), x, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("below", [1, 2, 3, 20])
def test_the_short_transform_keeps_the_low_frequencies(size: tuple[int, int], below: int) -> None:
    transform, x = FourierTransform(*size, below=below), torch.randn(2, *size)
    rows, columns = (np.abs(scipy.fft.fftfreq(length) * length).round() for length in size)
    kept = scipy.fft.fft2(x.numpy()) * ((rows < below)[:, None] & (columns < below))
    found = transform.inverse(*transform(x)).numpy()
    np.testing.assert_allclose(found, scipy.fft.ifft2(kept).real, rtol=0, atol=1e-13)


@twin_of(
    *(
        (AdaptiveFrequencyFilter(group_width=width), shape)
        for width, shape in [(2, (4, 5, 6)), (2, (5, 4, 3)), (8, (3, 3, 4)), (1, (3, 6, 1)), (3, (7, 1, 5))]
    ),
)
def adaptive_filter(part: Any, module: Any, x: Tensor) -> Tensor:
    """Complex matrices, block by block, between torch's transforms."""
    spectrum = torch.fft.rfft2(x, norm="ortho")
    width = module.reduce.real.weight.shape[1]

    def linear(layer: Any, z: Tensor) -> Tensor:
        matrices = torch.complex(layer.real.weight, layer.imaginary.weight)[..., 0, 0].unflatten(0, (-1, width))
        constant = torch.complex(layer.real_bias, layer.imaginary_bias)
        blocks = zip(matrices, z.split(width, 1), strict=True)
        return torch.cat([torch.einsum("oi,bihw->bohw", matrix, block) for matrix, block in blocks], 1) + constant

    missing = torch.zeros_like(spectrum[:, :1]).repeat(1, len(module.reduce.real_bias) - x.shape[1], 1, 1)
    hidden = linear(module.reduce, torch.cat([spectrum, missing], 1))
    mask = linear(module.expand, torch.complex(hidden.real.relu(), hidden.imag.relu()))[:, : x.shape[1]]
    return torch.fft.irfft2(mask * spectrum, s=x.shape[2:], norm="ortho")


def test_the_adaptive_filter_moves_with_a_circular_shift_only_by_the_mask() -> None:
    """A constant mask makes it a circular convolution, which commutes with circular shifts."""
    module: Any = AdaptiveFrequencyFilter().build((3, 5, 6))
    nn.init.zeros_(module.expand.real.weight)
    nn.init.zeros_(module.expand.imaginary.weight)
    x = torch.randn(1, 3, 5, 6)
    torch.testing.assert_close(module(x.roll((2, 3), (2, 3))), module(x).roll((2, 3), (2, 3)), rtol=1e-12, atol=1e-13)


@twin_of(
    (SpectralPooling(), (5, 6, 7)),
    (SpectralPooling(radius=1, kernel=3), (3, 4, 4)),
    (SpectralPooling(radius=4, balances=(0.25, 1.0)), (4, 7, 8)),
    (SpectralPooling(radius=3, balances=(0.9,)), (2, 2, 5)),
    (SpectralPooling(radius=9), (3, 6, 2)),
)
def spectral_pooling(part: SpectralPooling, module: Any, x: Tensor) -> Tensor:
    """One gate after the other: shifted spectrum, circular mask, inverse; each with its own 1 x 1 convolution."""
    z = F.conv2d(x, module.input.weight, module.input.bias)
    z = depthwise(z, module.across.weight, module.across.bias)
    z = depthwise(z, module.down.weight, module.down.bias)
    rows, columns = (torch.arange(size) - size // 2 for size in x.shape[2:])
    near = (rows[:, None] ** 2 + columns**2).sqrt() < part.radius
    context = module.context.bias[:, None, None]
    for gate, share in enumerate(part.balances):
        channels = range(gate, x.shape[1], len(part.balances))
        mask = torch.where(near, share, 1 - share)
        shifted = torch.fft.fftshift(torch.fft.fft2(z[:, channels]), (2, 3)) * mask
        filtered = torch.fft.ifft2(torch.fft.ifftshift(shifted, (2, 3))).real
        context = context + F.conv2d(filtered, module.context.weight[:, channels])
    return F.conv2d(z * context, module.output.weight, module.output.bias)


def test_a_balance_of_one_half_changes_no_frequency() -> None:
    module: Any = SpectralPooling(balances=(0.5,), radius=3).build((3, 6, 5))
    x = torch.randn(2, 3, 6, 5)
    z = module.down(module.across(module.input(x)))
    torch.testing.assert_close(module(x), module.output(z * module.context(z / 2)), rtol=1e-12, atol=1e-13)


@twin_of(
    *(
        (FftNet(head_width=width), shape)
        for width, shape in [(2, (5, 4, 6)), (16, (3, 5, 3)), (1, (2, 7)), (3, (4, 8)), (2, (2, 1, 1))]
    ),
)
def fft_net(part: FftNet, module: Any, x: Tensor) -> Tensor:
    image = x if x.ndim == 4 else x[:, :, None]
    mean = image.mean((2, 3)) @ module.hidden.weight.T + module.hidden.bias
    context = mean * (1 + torch.erf(mean / math.sqrt(2))) / 2
    outputs = []
    for c in range(x.shape[1]):
        head = c // min(part.head_width, x.shape[1])
        spectrum = torch.fft.fftshift(torch.fft.rfft2(image[:, c], norm="ortho"), (1,))
        change = torch.einsum("uvc,bc->buv", module.adaptation[head], context)
        filtered = (module.base[head] + change) * spectrum
        size = (filtered.real**2 + filtered.imag**2 + 1e-12).sqrt()
        activated = (size + module.threshold[head]).clamp(min=0) * filtered / size
        back = torch.fft.ifftshift(activated, (1,))
        outputs.append(torch.fft.irfft2(back, s=image.shape[2:], norm="ortho"))
    return torch.stack(outputs, 1).reshape(x.shape)


def test_fft_net_without_threshold_and_change_is_the_identity() -> None:
    module: Any = FftNet().build((3, 4, 5))
    nn.init.zeros_(module.adaptation)
    nn.init.zeros_(module.threshold)
    x = torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(module(x), x, rtol=1e-12, atol=1e-12)


def test_fft_net_takes_the_low_frequencies_of_a_larger_image() -> None:
    """A smooth image, filtered at half the size, is the filtered image at half the size."""
    wide: Any = FftNet(head_width=1).build((2, 8, 12))
    narrow: Any = FftNet(head_width=1).build((2, 4, 6))
    nn.init.normal_(wide.base)
    nn.init.zeros_(wide.threshold)
    for name, parameter in narrow.named_parameters(recurse=False):
        parameter.data = type(narrow).take(name, wide.get_parameter(name).detach(), tuple(parameter.shape))
    narrow.hidden.load_state_dict(wide.hidden.state_dict())
    spectrum = torch.fft.rfft2(torch.randn(1, 2, 8, 12))
    spectrum[:, :, 2:-1], spectrum[..., 3:] = 0, 0
    image = torch.fft.irfft2(spectrum, s=(8, 12))
    torch.testing.assert_close(narrow(image[..., ::2, ::2]), wide(image)[..., ::2, ::2], rtol=1e-9, atol=1e-9)
