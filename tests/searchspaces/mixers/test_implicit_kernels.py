"""Kernels that are functions of the position: their formulas in numpy, their size, and what is deployed of them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers.continuous_kernel import ContinuousKernel
from searchspaces.mixers.flexible_kernel import FlexibleKernel
from searchspaces.mixers.self_moving_points import SelfMovingPoints
from tests.searchspaces.twins import (
    depthwise,
    positions,
    twin_of,
)


def array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().numpy()


def affine(layer: Any, x: np.ndarray) -> np.ndarray:
    return array(layer.weight) @ x + array(layer.bias)


def fourier_convolution(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """[c h w] by [o c k l], size kept, zeros outside: the product of spectra, as in CKConv."""
    size = [extent + taps - 1 for extent, taps in zip(x.shape[1:], weight.shape[2:], strict=True)]
    spectra = np.fft.rfft2(x, size)[None] * np.fft.rfft2(weight[:, :, ::-1, ::-1], size)
    whole = np.fft.irfft2(spectra.sum(1), size)
    top, left = weight.shape[2] // 2, weight.shape[3] // 2
    return whole[:, top : top + x.shape[1], left : left + x.shape[2]]


@pytest.mark.oracle("continuous_kernel")
@pytest.mark.parametrize("shape", [(3, 6, 5), (2, 1, 4)])
def test_continuous_kernel_is_the_fourier_convolution_by_a_network_of_the_offset(shape: Any) -> None:
    part = ContinuousKernel(kernel=5, hidden=4, frequency=3.0)
    module: Any = part.build(shape)
    rows, columns = (min(5, 2 * size - 1) for size in shape[1:])
    weight = np.zeros((shape[0], shape[0], rows, columns))
    for u, v in itertools.product(range(rows), range(columns)):
        offset = np.array([(u - rows // 2) / shape[1], (v - columns // 2) / shape[2]])
        hidden = np.sin(3.0 * affine(module.network.second, np.sin(3.0 * affine(module.network.first, offset))))
        weight[:, :, u, v] = affine(module.readout, hidden)
    x = torch.randn(1, *shape)
    expected = fourier_convolution(x[0].numpy(), weight) + array(module.bias)[:, None, None]
    np.testing.assert_allclose(array(module(x)[0]), expected, rtol=1e-10, atol=1e-11)


def tap_by_tap(x: Tensor, kernel: Any, size: tuple[int, ...], bias: Tensor) -> Tensor:
    """Convolution on one or two axes by kernel(offset) [o i], or [c 1] in depth; zero outside."""
    y = bias.view(-1, *[1] * (x.ndim - 2)).expand(x.shape).clone()
    for offset in positions(size):
        weight = kernel(offset := tuple(place - count // 2 for place, count in zip(offset, size, strict=True)))
        for place in positions(x.shape[2:]):
            other = tuple(a + b for a, b in zip(place, offset, strict=True))
            if all(0 <= a < extent for a, extent in zip(other, x.shape[2:], strict=True)):
                near = x[(..., *other)]
                y[(..., *place)] += near * weight[:, 0] if weight.shape[1] < x.shape[1] else near @ weight.T
    return y


@twin_of(
    (ContinuousKernel(kernel=5, hidden=4, frequency=3.0), (3, 3, 4)),
    (ContinuousKernel(kernel=3, depthwise=True), (2, 2, 3)),
    (ContinuousKernel(causal=True), (3, 6)),
)
def continuous(part: ContinuousKernel, module: Any, x: Tensor) -> Tensor:
    """The kernel's network at one offset after the other."""

    def kernel(offset: tuple[int, ...]) -> Tensor:
        position = torch.tensor([step / extent for step, extent in zip(offset, x.shape[2:], strict=True)])
        network, readout = module.network, module.readout
        hidden = (part.frequency * (network.first.weight @ position + network.first.bias)).sin()
        hidden = (part.frequency * (network.second.weight @ hidden + network.second.bias)).sin()
        seen = float(not part.causal or x.ndim == 4 or offset[0] <= 0)
        return (readout.weight @ hidden + readout.bias) * seen

    size = tuple(min(part.kernel, 2 * extent - 1) for extent in x.shape[2:])
    return tap_by_tap(x, kernel, size, module.bias)


@pytest.mark.parametrize(
    "part", [ContinuousKernel(kernel=7, causal=True), FlexibleKernel(kernel=7, initial_size=2.0, causal=True)], ids=str
)
def test_a_causal_continuous_kernel_does_not_see_what_comes_later(part: Any) -> None:
    module, x = part.build((2, 9)), torch.randn(1, 2, 9, requires_grad=True)
    for form in (module, module.fuse()):
        (gradient,) = torch.autograd.grad(form(x)[..., 5].sum(), x)
        assert (gradient.abs().sum((0, 1)) > 0).tolist() == [2 <= t <= 5 for t in range(9)]


def test_a_causal_flexible_kernel_is_the_earlier_half_of_the_other() -> None:
    whole: Any = FlexibleKernel(kernel=7).build((3, 9))
    causal: Any = FlexibleKernel(kernel=7, causal=True).build((3, 9))
    causal.load_state_dict(whole.state_dict())
    torch.testing.assert_close(causal.sampled()[..., :4], whole.sampled()[..., :4])
    assert not causal.sampled()[..., 4:].any() and whole.sampled()[..., 4:].any()


def test_kernel_size_costs_no_parameters_and_a_small_kernel_is_the_centre_of_a_large_one() -> None:
    large, small = (ContinuousKernel(kernel=kernel).build((2, 8, 8)) for kernel in (7, 3))
    small.load_state_dict(large.state_dict())
    torch.testing.assert_close(small.sampled(), large.sampled()[:, :, 2:5, 2:5])  # type: ignore[operator]


def test_a_continuous_kernel_means_the_same_at_twice_the_resolution() -> None:
    coarse, fine = (ContinuousKernel(kernel=kernel).build((2, size, size)) for kernel, size in ((5, 6), (9, 12)))
    fine.load_state_dict(coarse.state_dict())
    torch.testing.assert_close(fine.sampled()[:, :, ::2, ::2], coarse.sampled())  # type: ignore[operator]


def gabor_kernel(module: Any, position: np.ndarray) -> np.ndarray:
    """MAGNet at one position: products of linear layers and Gabor filters."""
    waves = []
    for wave in module.network.filters:
        envelope = np.exp(-0.5 * ((array(wave.width) * (position - array(wave.centre))) ** 2).sum(1))
        waves.append(envelope * np.sin(affine(wave.phase, position)))
    hidden = waves[0]
    for layer, wave in zip(module.network.layers, waves[1:], strict=True):
        hidden = affine(layer, hidden) * wave
    return affine(module.readout, hidden)


@pytest.mark.oracle("flexible_kernel")
@pytest.mark.parametrize("size", [(0.5, 0.5), (0.2, 0.9), (3.0, 0.01)])
def test_flexible_kernel_is_a_gabor_network_under_a_gaussian_cut_off_at_a_tenth(size: Any) -> None:
    module: Any = FlexibleKernel(kernel=7, hidden=4).build((2, 5, 5))
    module.size.data, module.centre.data = torch.tensor(size), torch.tensor([0.1, -0.2])
    expected = np.zeros((2, 2, 7, 7))
    for u, v in itertools.product(range(7), range(7)):
        position = np.array([(u - 3) / 3, (v - 3) / 3])
        mask = np.exp(-0.5 * ((position - [0.1, -0.2]) / np.array(size)) ** 2)
        if ((mask >= 0.1) | (position == 0)).all():
            expected[:, :, u, v] = gabor_kernel(module, position) * mask.prod()
    np.testing.assert_allclose(array(module.sampled()), expected, rtol=1e-10, atol=1e-14)


def narrowed(module: Any) -> Any:
    """A mask that cuts off some taps and is not centred, and filters as they begin."""
    module.size.data, module.centre.data = 0.4 + 0.2 * torch.rand_like(module.size), 0.1 * torch.randn_like(module.size)
    module.bias.data.normal_()
    return module


@twin_of(
    (FlexibleKernel(kernel=5, hidden=4), (3, 3, 4)),
    (FlexibleKernel(hidden=3, layers=2, depthwise=True), (2, 6)),
    prepare=narrowed,
)
def flexible(part: FlexibleKernel, module: Any, x: Tensor) -> Tensor:
    """MAGNet and the mask at one offset after the other."""

    def kernel(offset: tuple[int, ...]) -> Tensor:
        position = torch.tensor(offset) / max(part.kernel // 2, 1)
        mask = torch.exp(-(((position - module.centre) / module.size) ** 2) / 2)
        if ((mask < 0.1) & (position != 0)).any():
            return torch.zeros_like(module.readout.bias)
        waves = []
        for wave in module.network.filters:
            envelope = torch.exp(-((wave.width * (position - wave.centre)) ** 2).sum(1) / 2)
            waves.append(envelope * torch.sin(wave.phase.weight @ position + wave.phase.bias))
        hidden = waves[0]
        for layer, wave in zip(module.network.layers, waves[1:], strict=True):
            hidden = (layer.weight @ hidden + layer.bias) * wave
        return (module.readout.weight @ hidden + module.readout.bias) * mask.prod()

    return tap_by_tap(x, kernel, module.kernel, module.bias)


@pytest.mark.parametrize(("size", "kernel"), [(0.05, 1), (0.2, 3), (0.4, 5), (0.6, 7), (4.0, 7)])
def test_the_learned_size_is_the_size_that_is_deployed(size: float, kernel: int) -> None:
    """|p| <= sigma sqrt(2 ln 10) is inside; taps are 1/3 apart."""
    module: Any = FlexibleKernel(kernel=7, initial_size=size).build((3, 8, 8))
    assert module.fuse().kernel_size == (kernel, kernel)


def test_the_size_of_a_flexible_kernel_has_a_gradient() -> None:
    module: Any = FlexibleKernel(kernel=7).build((2, 8, 8))
    module(torch.randn(1, 2, 8, 8)).square().sum().backward()
    assert (module.size.grad != 0).all() and (module.centre.grad != 0).all()


def spread(module: Any) -> Any:
    """Points of different reach, some of which overlap."""
    module.radius.data = 0.8 * torch.rand_like(module.radius) + 0.1
    module.weight.data.normal_()
    return module


@twin_of(
    (SelfMovingPoints(kernel=5, points=6), (3, 5, 4)),
    (SelfMovingPoints(kernel=5, points=6), (1, 2, 1)),
    prepare=spread,
)
def points(part: Any, module: Any, x: Tensor) -> Tensor:
    """The kernel by its definition, tap by tap, and the convolution by loops."""
    taps = torch.linspace(-1, 1, module.kernel)
    rows = []
    for u, v in itertools.product(range(module.kernel), range(module.kernel)):
        total, count = torch.zeros(x.shape[1]), 0
        for i, position in enumerate(module.position):
            distance = (taps[u] - position[0]).abs() + (taps[v] - position[1]).abs()
            nearness = 1 - distance / module.radius[i]
            if nearness > 0:
                total, count = total + nearness * module.weight[:, i], count + 1
        rows.append(total / max(count, 1))
    weight = torch.stack(rows, 1).reshape(x.shape[1], 1, module.kernel, module.kernel)
    return depthwise(x, weight, module.bias)


def test_a_kernel_of_one_tap_lies_in_the_middle() -> None:
    module: Any = SelfMovingPoints(kernel=1, points=1).build((1, 3, 3))
    module.position.data.zero_()
    torch.testing.assert_close(module.sampled().squeeze(), module.weight.squeeze())


@pytest.mark.parametrize(
    ("part", "shape"),
    [
        (ContinuousKernel(), (3, 5, 9)),
        (ContinuousKernel(depthwise=True), (3, 2, 9)),
        (ContinuousKernel(causal=True), (3, 9)),
        (FlexibleKernel(initial_size=0.2), (3, 6, 9)),
        (FlexibleKernel(depthwise=True), (4, 9)),
        (SelfMovingPoints(), (3, 7, 6)),
    ],
    ids=str,
)
def test_the_deployed_form_is_one_plain_convolution(part: Any, shape: Any) -> None:
    module, x = part.build(shape).eval(), torch.randn(2, *shape)
    fused: Any = module.fuse()
    assert isinstance(fused, nn.Conv1d | nn.Conv2d)
    torch.testing.assert_close(fused(x), module(x), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(fused.float()(x.float()), module.float()(x.float()), rtol=1e-5, atol=1e-5)


def test_a_flexible_convolution_in_depth_equals_groups() -> None:
    module: Any = FlexibleKernel(depthwise=True, kernel=3).build((3, 4, 4))
    x = torch.randn(1, 3, 4, 4)
    torch.testing.assert_close(module(x), F.conv2d(x, module.sampled(), module.bias, padding=1, groups=3))
