"""Convolutions over whole sequences against sums over lags, and their kernels against their definitions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.signal
import torch
from torch import Tensor
from torch.nn import functional as F

from searchspaces.mixers._fourier import RealFourier, product, quotient
from searchspaces.mixers.legendre_memory import LegendreMemory, impulse_response
from searchspaces.mixers.long_convolution import LongConvolution, SquashedKernel
from searchspaces.mixers.multiresolution_convolution import MultiresolutionConvolution
from searchspaces.mixers.rational_transfer import RationalKernel, RationalTransfer
from searchspaces.mixers.structured_global_convolution import MultiscaleKernel, StructuredGlobalConvolution
from tests.searchspaces.twins import (
    label,
    twin_of,
)


def gated(output: Any, features: Tensor, x: Tensor) -> Tensor:
    """GELU and the gated linear unit, one position after the other."""
    tokens = [0.5 * token * (1 + torch.erf(token / math.sqrt(2))) for token in features.unbind(2)]
    mixed = [output.value(token) / (1 + torch.exp(-output.gate(token))) for token in tokens]
    return torch.stack(mixed, 2).reshape(x.shape)


def stable(module: Any) -> Any:
    """Rational kernels that are not zero and do not grow."""
    for name, parameter in module.named_parameters():
        if "numerator" in name or "denominator" in name:
            parameter.data = 0.2 * torch.randn_like(parameter)
    return module


@twin_of(
    (LongConvolution(), (3, 7)),
    (LongConvolution(causal=True, threshold=0.01), (2, 3, 3)),
    (LongConvolution(), (2, 1)),
    (StructuredGlobalConvolution(points=3), (3, 11)),
    (StructuredGlobalConvolution(points=2, causal=True), (2, 3, 5)),
    (RationalTransfer(), (3, 7)),
    (RationalTransfer(state=3, stable=False, causal=True), (2, 3, 4)),
    prepare=stable,
)
def lag_by_lag(part: Any, module: Any, x: Tensor) -> Tensor:
    """y_i = sum_j k_{i - j} x_j + skip x_i, with the kernel of the past for i >= j and that of the future else."""
    sequence, past = x.flatten(2), module.past()
    positions = range(sequence.shape[2])
    outputs = []
    for i in positions:
        terms = [past[:, i - j] * sequence[:, :, j] for j in positions if j <= i]
        if module.future is not None:
            terms += [module.future()[:, j - i - 1] * sequence[:, :, j] for j in positions if j > i]
        outputs.append(torch.stack(terms).sum(0) + module.skip * sequence[:, :, i])
    return gated(module.output, torch.stack(outputs, 2), x)


@twin_of(
    (LegendreMemory(signals=3, order=4, window=5), (3, 11)),
    (LegendreMemory(signals=2, order=2, window=5), (3, 2, 3)),
)
def memory_by_memory(part: Any, module: Any, x: Tensor) -> Tensor:
    """The memory's recurrence, held and stepped with scipy's matrices."""
    order, window = part.order, part.window
    i = np.arange(order)
    a = np.array([[(2 * r + 1) * (-1.0 if r < c else (-1.0) ** (r - c + 1)) for c in i] for r in i]) / window
    b = ((2 * i + 1) * (-1.0) ** i)[:, None] / window
    held, pushed, *_ = map(torch.tensor, scipy.signal.cont2discrete((a, b, np.eye(order), np.zeros((order, 1))), 1.0))
    outputs, states = [], torch.zeros(len(x), module.memory.shape[1], order)
    for token in x.flatten(2).unbind(2):
        states = states @ held.T + module.signal(token).clamp(min=0)[:, :, None] * pushed[:, 0]
        recalled = sum(states[:, s] @ module.memory[:, s].T for s in range(states.shape[1]))
        outputs.append((recalled + module.direct(token)).clamp(min=0))
    return torch.stack(outputs, 2).reshape(x.shape)


@twin_of(
    (MultiresolutionConvolution(), (3, 7)),
    (MultiresolutionConvolution(kernel=4), (2, 3, 5)),
    (MultiresolutionConvolution(kernel=2, causal=True), (3, 9)),
)
def tree(part: Any, module: Any, x: Tensor) -> Tensor:
    """Level by level, position by position, tap by tap."""
    sequence = x.flatten(2)
    length = sequence.shape[2]

    def convolve(signal: Tensor, kernel: Any, dilation: int) -> Tensor:
        taps = kernel.shape[2]
        reach = dilation * (taps - 1)
        first = -reach if module.causal else -(reach - reach // 2)
        places = [[(k, i + first + dilation * k) for k in range(taps)] for i in range(length)]
        columns = [
            torch.stack(
                [torch.zeros_like(signal[:, :, 0])]
                + [kernel[:, 0, k] * signal[:, :, place] for k, place in row if 0 <= place < length]
            ).sum(0)
            for row in places
        ]
        return torch.stack(columns, 2)

    low, total = sequence, module.skip[:, None] * sequence
    for level in range(module.levels.shape[1]):
        total = total + module.levels[:, level, None] * convolve(low, module.high.weight, 2**level)
        low = convolve(low, module.low.weight, 2**level)
    return gated(module.output, total + module.coarse[:, None] * low, x)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 7, 11, 16, 31, 100])
def test_products_of_spectra_convolve(length: int) -> None:
    transform, x, k = RealFourier(length), torch.randn(2, 3, length), torch.randn(3, length)
    found = transform.inverse(product(transform(x), transform(k)))
    expected = torch.fft.irfft(torch.fft.rfft(x, 2 * length) * torch.fft.rfft(k, 2 * length), 2 * length)
    torch.testing.assert_close(found, expected[..., :length], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("length", [1, 3, 8, 29])
def test_the_spectrum_is_that_of_the_padded_sequence_in_another_order(length: int) -> None:
    transform, x = RealFourier(length), torch.randn(length)
    assert transform.total >= 2 * length
    real, imaginary = transform(x)
    spectrum, slow = torch.fft.fft(x, transform.total), transform.total // transform.fast
    for k in range(real.shape[0]):
        row = spectrum[k + slow * torch.arange(transform.fast)]
        torch.testing.assert_close(torch.complex(real[k], imaginary[k]), row, rtol=1e-11, atol=1e-12)


def test_a_quotient_undoes_a_product() -> None:
    transform, x, k = RealFourier(9), torch.randn(9), torch.randn(9)
    spectrum = quotient(product(transform(x), transform(k)), transform(k))
    torch.testing.assert_close(transform.inverse(spectrum), x, rtol=1e-10, atol=1e-10)


def test_float32_spectra_stay_exact_for_long_sequences() -> None:
    x, k = torch.randn(4, 3000), torch.randn(4, 3000) / 3000**0.5
    torch.set_default_dtype(torch.float32)
    transform = RealFourier(3000)
    found = transform.inverse(product(transform(x.float()), transform(k.float())))
    expected = torch.fft.irfft(torch.fft.rfft(x, 6000) * torch.fft.rfft(k, 6000), 6000)[:, :3000]
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("threshold", [0.0, 0.001, 0.01])
def test_the_squash_operator_is_soft_thresholding(threshold: float) -> None:
    kernel = SquashedKernel(6, 50, threshold)
    torch.testing.assert_close(kernel(), F.softshrink(kernel.weight, threshold), rtol=0, atol=0)
    assert (kernel() == 0).any() == (threshold > 0)


@pytest.mark.oracle("structured_global_convolution")
@pytest.mark.parametrize(("points", "positions"), [(3, 3), (3, 4), (4, 19), (1, 8), (5, 2)])
def test_sub_kernels_are_interpolated_and_decay(points: int, positions: int) -> None:
    """Numpy's interpolation between the middles of equal intervals, sub-kernel after sub-kernel."""
    module, decay = MultiscaleKernel(2, positions, points, 0.7), 0.7
    weight, pieces = module.weight.detach().numpy(), []
    for scale in range(weight.shape[1]):
        length = points * 2 ** max(scale - 1, 0)
        at = (np.arange(length) + 0.5) * points / length - 0.5
        pieces.append([decay**scale * np.interp(at, np.arange(points), row[scale]) for row in weight])
    expected = torch.tensor(np.concatenate(pieces, 1)[:, :positions])
    ratio = module().detach() / expected
    torch.testing.assert_close(ratio, ratio[:1, :1].expand_as(ratio), rtol=1e-9, atol=0)
    squares = torch.stack([MultiscaleKernel(50, positions, points, decay)().square().sum(1) for _ in range(40)])
    assert abs(squares.mean() - 1) < 0.15


def test_fewer_points_sample_the_same_curve() -> None:
    shared = torch.linspace(0, 1, 8).expand(3, 4, 8)
    taken = MultiscaleKernel.take("weight", shared, (2, 3, 4))
    assert taken.shape == (2, 3, 4)
    torch.testing.assert_close(taken[0, 0], torch.tensor([1, 5, 9, 13]) / 14.0, rtol=1e-12, atol=1e-12)


@pytest.mark.oracle("rational_transfer")
@pytest.mark.parametrize(("state", "positions"), [(1, 5), (4, 12), (6, 3)])
def test_a_rational_kernel_is_the_filter_s_response(state: int, positions: int) -> None:
    """scipy's difference equation, its response summed over the periods of the transform."""
    module = RationalKernel(2, positions, state, stable=True)
    module.numerator.data, module.denominator.data = torch.randn(2, state), torch.randn(2, state)
    period, impulse = module.transform.total, np.zeros(400 * module.transform.total)
    impulse[0] = 1
    for channel, kernel in enumerate(module()):
        numerator = np.r_[0, module.numerator[channel].detach()]
        denominator = np.r_[1, module._denominator()[channel].detach()]
        response = scipy.signal.lfilter(numerator, denominator, impulse).reshape(-1, period).sum(0)
        np.testing.assert_allclose(kernel.detach(), response[:positions], rtol=1e-8, atol=1e-10)


def test_stable_denominators_have_their_roots_inside_the_unit_circle() -> None:
    module = RationalKernel(20, 9, 5, stable=True)
    module.denominator.data = 10 * torch.randn(20, 5)
    for row in module._denominator().detach():
        assert np.abs(np.roots(np.r_[1, row])).max() < 1


@pytest.mark.oracle("legendre_memory")
def test_the_legendre_memory_recalls_its_window() -> None:
    """sum_i P_i(2 s - 1) m_i is the input of s windows ago (Voelker et al., 2019, equation 3), for a slow input.

    A step's input is held until the step ends, so it lies half a step later than at the step's begin.
    """
    order, window, positions = 8, 100, 300
    times = np.arange(positions)
    response = impulse_response(order, window, positions).numpy()
    memory = np.array([np.convolve(row, np.sin(times / 20))[:positions] for row in response])
    for ago in (25, 50, 75):
        weights = [np.polynomial.legendre.legval(2 * ago / window - 1, row) for row in np.eye(order)]
        recalled = np.array(weights) @ memory
        np.testing.assert_allclose(recalled[200:], np.sin((times[200:] + 0.5 - ago) / 20), atol=0.001)


@pytest.mark.parametrize(
    "part",
    [
        LongConvolution(causal=True),
        StructuredGlobalConvolution(causal=True, points=2),
        RationalTransfer(causal=True),
        LegendreMemory(),
        MultiresolutionConvolution(causal=True),
    ],
    ids=label,
)
def test_causal_mixers_see_no_later_position(part: Any) -> None:
    module, x = part.build((3, 9)), torch.randn(1, 3, 9, requires_grad=True)
    for name, parameter in module.named_parameters():
        if "numerator" in name:
            parameter.data.fill_(1.0)
    (gradient,) = torch.autograd.grad(module(x)[:, :, 4].square().sum(), x)
    assert gradient[:, :, 5:].abs().max() < 1e-12
    assert (gradient[:, :, :5].abs().amax(1) > 1e-9).all()


@pytest.mark.parametrize("part_class", [LongConvolution, StructuredGlobalConvolution, MultiresolutionConvolution])
def test_other_mixers_see_every_position(part_class: Any) -> None:
    module, x = part_class().build((3, 9)), torch.randn(1, 3, 9, requires_grad=True)
    (gradient,) = torch.autograd.grad(module(x)[:, :, 4].square().sum(), x)
    assert (gradient.abs().amax(1) > 1e-9).all()


def test_a_shorter_sequence_takes_the_shorter_lags() -> None:
    wide, narrow = (LongConvolution(causal=True).build((3, size)) for size in (9, 6))
    state: dict[str, Any] = {name: wide.get_parameter(name).detach() for name, _ in narrow.named_parameters()}
    state["past.weight"] = state["past.weight"][:, :6]
    narrow.load_state_dict(state)
    x = torch.randn(2, 3, 9)
    torch.testing.assert_close(narrow(x[:, :, :6]), wide(x)[:, :, :6], rtol=1e-11, atol=1e-12)


def test_multiresolution_depth_reaches_the_sequence_and_no_further() -> None:
    for kernel, positions in ((2, 9), (3, 9), (4, 100), (5, 1)):
        module: Any = MultiresolutionConvolution(kernel=kernel).build((1, positions))
        assert (kernel - 1) * (2**module.depth - 1) + 1 >= positions
        assert module.depth == 1 or (kernel - 1) * (2 ** (module.depth - 1) - 1) + 1 < positions
