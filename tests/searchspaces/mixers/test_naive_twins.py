"""Each mixer against its definition written as loops, in value and in gradient."""

from __future__ import annotations

import cmath
import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from searchspaces.mixers.attention import Attention
from searchspaces.mixers.depthwise import Depthwise
from searchspaces.mixers.fourier_filter import FourierFilter
from searchspaces.mixers.linear_attention import LinearAttention
from searchspaces.mixers.multi_dilated import MultiDilated
from searchspaces.mixers.pooling import Pooling
from searchspaces.mixers.window_attention import WindowAttention
from tests.searchspaces import twins
from tests.searchspaces.twins import pair, twin_of


@twin_of(
    (Depthwise(kernel=(3, 5), dilation=(2, 1)), (3, 5, 4)),
    (Depthwise(kernel=5, dilation=2), (2, 3, 7)),
    (Depthwise(kernel=1), (1, 2, 3)),
)
def depthwise(part: Depthwise, module: Any, x: Tensor) -> Tensor:
    return twins.depthwise(x, module.convolution.weight, module.convolution.bias, part.dilation)


@twin_of(
    (MultiDilated(), (5, 5, 4)),
    (MultiDilated(kernel=(1, 3), dilations=(1, (1, 3), 2, 4)), (3, 4, 7)),
    (MultiDilated(dilations=(2, 1)), (6, 3, 5)),
)
def multi_dilated(part: MultiDilated, module: Any, x: Tensor) -> Tensor:
    channels = []
    for c in range(x.shape[1]):
        place, group = divmod(c, len(part.dilations))
        weight, bias = (parameter[[place]] for parameter in (module.groups[group].weight, module.groups[group].bias))
        channels.append(twins.depthwise(x[:, [c]], weight, bias, part.dilations[group]))
    return torch.cat(channels, 1)


@twin_of(
    (Pooling(), (3, 5, 4)),
    (Pooling(kernel=(1, 5)), (2, 3, 3)),
)
def pooling(part: Pooling, module: Any, x: Tensor) -> Tensor:
    (height, width), (down, right) = x.shape[2:], (size // 2 for size in pair(part.kernel))
    y = -x
    for i, j in itertools.product(range(height), range(width)):
        window = x[:, :, max(i - down, 0) : i + down + 1, max(j - right, 0) : j + right + 1]
        y[:, :, i, j] = y[:, :, i, j] + window.sum((2, 3)) / (window.shape[2] * window.shape[3])
    return y


def attend(
    part: Any,
    module: Any,
    x: Tensor,
    weigh: Callable[[Tensor, list[Tensor]], list[Tensor]],
    neighbours: Callable[[int], list[int]],
) -> Tensor:
    """Attention of one query after the other: weigh(query, keys) times the values of its neighbours."""
    tokens = [x.flatten(2)[:, :, t] for t in range(x.flatten(2).shape[2])]
    outputs = []
    for t, token in enumerate(tokens):
        heads = []
        for head in range(part.heads):
            rows = slice(head * part.head_width, (head + 1) * part.head_width)
            query = module.query(token)[:, rows]
            near = [tokens[other] for other in neighbours(t)]
            weights = weigh(query, [module.key(other)[:, rows] for other in near])
            pairs = zip(weights, near, strict=True)
            heads.append(torch.stack([weight * module.value(other)[:, rows] for weight, other in pairs]).sum(0))
        outputs.append(module.output(torch.cat(heads, 1)))
    return torch.stack(outputs, 2).reshape(x.shape)


def softmax_weights(query: Tensor, keys: list[Tensor]) -> list[Tensor]:
    scores = [((query * key).sum(1, keepdim=True) / math.sqrt(query.shape[1])).exp() for key in keys]
    return [score / torch.stack(scores).sum(0) for score in scores]


def kernel_weights(query: Tensor, keys: list[Tensor]) -> list[Tensor]:
    def phi(z: Tensor) -> Tensor:
        return torch.where(z > 0, z + 1, z.exp())

    scores = [(phi(query) * phi(key)).sum(1, keepdim=True) for key in keys]
    return [score / (torch.stack(scores).sum(0) + 1e-6) for score in scores]


def seen(part: Attention | LinearAttention, x: Tensor) -> Callable[[int], list[int]]:
    """The positions that a position attends to."""
    return lambda t: list(range(t + 1 if part.causal else x[0, 0].numel()))


@twin_of(
    (Attention(heads=3, head_width=2), (5, 3, 5)),
    (Attention(heads=1, head_width=3), (2, 7)),
    (Attention(heads=2, head_width=2, causal=True), (3, 3, 3)),
)
def attention(part: Attention, module: Any, x: Tensor) -> Tensor:
    return attend(part, module, x, softmax_weights, seen(part, x))


@twin_of(
    (LinearAttention(heads=3, head_width=2), (5, 3, 5)),
    (LinearAttention(heads=1, head_width=3), (2, 7)),
    (LinearAttention(heads=2, head_width=2, causal=True), (2, 7)),
    (LinearAttention(heads=1, head_width=3, causal=True), (2, 9, 8)),
)
def linear_attention(part: LinearAttention, module: Any, x: Tensor) -> Tensor:
    return attend(part, module, x, kernel_weights, seen(part, x))


def cell(position: int, size: int, window: int, shifted: bool) -> int:
    """The window that a position lies in, along one axis."""
    return 0 if window >= size else (position - (window // 2 if shifted else 0)) // window


@twin_of(
    (WindowAttention(heads=2, head_width=3, window=2), (3, 5, 3)),
    (WindowAttention(heads=2, head_width=3, window=2), (3, 4, 2)),
    (WindowAttention(heads=1, head_width=2, window=3, shifted=True), (3, 7, 5)),
    (WindowAttention(heads=2, head_width=2, window=(4, 2), shifted=True), (2, 5, 6)),
    (WindowAttention(heads=2, head_width=2, window=(9, 1), shifted=True), (2, 3, 5)),
)
def window_attention(part: WindowAttention, module: Any, x: Tensor) -> Tensor:
    size = x.shape[2:]

    def window_of(t: int) -> list[int]:
        axes = zip(divmod(t, size[1]), size, pair(part.window), strict=True)
        return [cell(position, length, window, part.shifted) for position, length, window in axes]

    positions = range(size[0] * size[1])
    return attend(
        part, module, x, softmax_weights, lambda t: [other for other in positions if window_of(other) == window_of(t)]
    )


@twin_of(
    *((FourierFilter(), shape) for shape in [(3, 5, 7), (2, 4, 6), (2, 7, 4), (1, 1, 1)]),
)
def fourier_filter(part: FourierFilter, module: Any, x: Tensor) -> Tensor:
    """torch.fft's transforms; the filter's vertical frequencies go from -floor(h / 2) up."""
    factors = torch.fft.ifftshift(torch.complex(module.real, module.imaginary), dim=1)
    return torch.fft.irfft2(factors * torch.fft.rfft2(x), s=x.shape[2:])


@pytest.mark.oracle("fourier_filter")
def test_the_fourier_filter_equals_sums_over_all_frequencies() -> None:
    height, width = 3, 4
    module: Any = FourierFilter().build((1, height, width))
    x, y = torch.randn(1, 1, height, width), torch.zeros(height, width)
    for u, v in itertools.product(range(-1, 2), range(-1, 3)):
        conjugate = v < 0
        row, column = (-u, -v) if conjugate else (u, v)
        factor = complex(module.real[0, row + 1, column].item(), module.imaginary[0, row + 1, column].item())
        factor = factor.conjugate() if conjugate else factor
        waves = [[cmath.exp(2j * cmath.pi * (u * m / 3 + v * n / 4)) for n in range(width)] for m in range(height)]
        basis = torch.tensor(waves)
        coefficient = (x[0, 0] * basis.conj()).sum() * factor / (height * width)
        y += (coefficient * basis).real
    torch.testing.assert_close(module(x)[0, 0], y, rtol=1e-12, atol=1e-12)


def leading(module: nn.Module, narrow: nn.Module) -> dict[str, Tensor]:
    """The leading slices of a wide module's parameters for a narrow one, the centre along kernel axes."""
    state = {}
    for name, parameter in narrow.named_parameters():
        value = module.get_parameter(name).detach()
        for axis, size in enumerate(parameter.shape):
            value = value.narrow(axis, 0 if axis < 2 else (value.shape[axis] - size) // 2, size)
        state[name] = value
    return state


@pytest.mark.parametrize("channels", [1, 2, 5, 7])
def test_a_channel_keeps_its_dilation_at_every_width(channels: int) -> None:
    wide, narrow = (MultiDilated(dilations=(1, 2, 3)).build((width, 6, 5)) for width in (8, channels))
    narrow.load_state_dict(leading(wide, narrow))
    x = torch.randn(2, 8, 6, 5)
    torch.testing.assert_close(narrow(x[:, :channels]), wide(x)[:, :channels], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("small", "large"), [(1, 3), (3, 7), ((1, 5), (3, 7))])
def test_a_small_kernel_is_the_centre_of_a_large_one(small: Any, large: Any) -> None:
    wide, narrow = (Depthwise(kernel=kernel, dilation=2).build((3, 6, 5)) for kernel in (large, small))
    narrow.load_state_dict(leading(wide, narrow))
    weight: Any = wide.get_parameter("convolution.weight")
    edges = [(big - little) // 2 for big, little in zip(pair(large), pair(small), strict=True)]
    border = torch.ones_like(weight)
    border[:, :, edges[0] : weight.shape[2] - edges[0], edges[1] : weight.shape[3] - edges[1]] = 0
    weight.data[border == 1] = 0
    x = torch.randn(2, 3, 6, 5)
    torch.testing.assert_close(narrow(x), wide(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("part_class", [Attention, LinearAttention, WindowAttention])
def test_fewer_heads_are_the_leading_ones(part_class: type[Attention]) -> None:
    wide, narrow = (part_class(heads=heads, head_width=3).build((4, 5, 3)) for heads in (5, 2))
    narrow.load_state_dict(leading(wide, narrow))
    wide.get_parameter("output.weight").data[:, 6:] = 0
    x = torch.randn(2, 4, 5, 3)
    torch.testing.assert_close(narrow(x), wide(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("large", "factors"), [((12, 9), (2, 3)), ((10, 12), (2, 2)), ((9, 8), (3, 1))])
def test_a_filter_does_to_a_small_image_what_it_does_to_the_large_one(large: Any, factors: Any) -> None:
    small = (large[0] // factors[0], large[1] // factors[1])
    wide, narrow = FourierFilter().build((2, *large)), FourierFilter().build((1, *small))
    for name, parameter in narrow.named_parameters(recurse=False):
        parameter.data = type(narrow).take(name, wide.get_parameter(name).detach(), parameter.shape)
    image = band_limited(large, [(size - 1) // 2 for size in small])
    filtered = wide(image)[:, :1, :: factors[0], :: factors[1]]
    torch.testing.assert_close(narrow(image[:, :1, :: factors[0], :: factors[1]]), filtered, rtol=1e-11, atol=1e-12)


def band_limited(size: tuple[int, int], highest: list[int]) -> Tensor:
    """Two random channels without frequencies above the bounds."""
    spectrum = torch.fft.rfft2(torch.randn(1, 2, *size))
    rows = (torch.fft.fftfreq(size[0]) * size[0]).abs().round() <= highest[0]
    spectrum *= rows[:, None] & (torch.arange(spectrum.shape[3]) <= highest[1])
    return torch.fft.irfft2(spectrum, s=size)
