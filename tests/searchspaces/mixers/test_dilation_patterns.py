"""Dilated, shifted and partial convolutions: their definitions as loops, receptive fields, the dilation search."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from searchspaces.mixers.bytenet import Bytenet
from searchspaces.mixers.context_module import ContextModule
from searchspaces.mixers.inception_convolution import InceptionConvolution, select_dilations
from searchspaces.mixers.partial_convolution import PartialConvolution
from searchspaces.mixers.shift_convolution import DIRECTIONS, ShiftConvolution
from searchspaces.quantization.integer import Integer
from tests.searchspaces.twins import (
    twin_of,
)


@twin_of(
    *itertools.product(
        [
            InceptionConvolution(),
            InceptionConvolution(kernel=(1, 3), dilations=(2, (1, 3), 2)),
            InceptionConvolution(dilations=(1, 2, (3, 1), 2, 1, (1, 2))),
        ],
        [(5, 3, 4), (1, 2, 3), (2, 5, 1)],
    ),
)
def inception(part: InceptionConvolution, module: Any, x: Tensor) -> Tensor:
    (height, width), (rows, columns) = x.shape[2:], module.weight.shape[2:]
    y = module.bias[:, None, None].expand(x.shape).clone()
    for o, i, j in itertools.product(range(x.shape[1]), range(height), range(width)):
        dilation: Any = part.dilations[o % len(part.dilations)]
        down, right = dilation if isinstance(dilation, tuple) else (dilation, dilation)
        for u, v in itertools.product(range(rows), range(columns)):
            above, left = i + down * (u - rows // 2), j + right * (v - columns // 2)
            if 0 <= above < height and 0 <= left < width:
                y[:, o, i, j] = y[:, o, i, j] + x[:, :, above, left] @ module.weight[o, :, u, v]
    return y


def test_fake_quantization_reaches_inception_convolutions() -> None:
    module, x = InceptionConvolution().build((4, 6, 6)), torch.randn(2, 4, 6, 6)
    exact = module(x)
    quantized = Integer().prepare(module)(x)
    assert not torch.equal(quantized, exact)
    torch.testing.assert_close(quantized, exact, rtol=0.1, atol=0.05)


def test_the_dilation_search_finds_the_dilations_that_a_large_kernel_hides() -> None:
    hidden = [(1, 1), (2, 3), (3, 1), (1, 2), (2, 2)]
    weight = 0.01 * torch.randn(5, 3, 7, 7)
    for o, (down, right) in enumerate(hidden):
        weight[o, :, 3 - down : 4 + down : down, 3 - right : 4 + right : right] += torch.randn(3, 3, 3)
    assert list(select_dilations(weight, torch.randn(2, 3, 12, 12))) == hidden


def test_the_dilation_search_minimizes_what_is_left_out() -> None:
    weight, x = torch.randn(2, 3, 5, 5), torch.randn(2, 3, 6, 7)
    whole = F.conv2d(x, weight, padding=2)
    errors = {}
    for down, right in itertools.product((1, 2), (1, 2)):
        taps = weight[:, :, 2 - down : 3 + down : down, 2 - right : 3 + right : right]
        partly = F.conv2d(x, taps, padding=(down, right), dilation=(down, right))
        errors[down, right] = (whole - partly).abs().mean((0, 2, 3))
    expected = tuple(min(errors, key=lambda pattern, o=o: errors[pattern][o].item()) for o in range(2))
    assert select_dilations(weight, x) == expected
    assert InceptionConvolution(dilations=expected).build((2, 4, 4)).distinct == list(dict.fromkeys(expected))


@pytest.mark.parametrize(("ratio", "convolved"), [(0.25, 2), (0.01, 1), (1.0, 8), (0.5, 4)])
def test_partial_convolution_leaves_the_other_channels(ratio: float, convolved: int) -> None:
    module: Any = PartialConvolution(ratio=ratio).build((8, 5, 4))
    x = torch.randn(2, 8, 5, 4)
    y = module(x)
    assert torch.equal(y[:, convolved:], x[:, convolved:])
    weight, bias = module.convolution.weight, module.convolution.bias
    torch.testing.assert_close(y[:, :convolved], F.conv2d(x[:, :convolved], weight, bias, padding=1))


@twin_of(
    *itertools.product(
        [ShiftConvolution(), ShiftConvolution(distance=2)], [(11, 3, 4), (3, 5, 2), (8, 1, 1), (16, 4, 4)]
    ),
)
def shifted(part: ShiftConvolution, module: Any, x: Tensor) -> Tensor:
    (height, width), moved = x.shape[2:], torch.zeros_like(x)
    for c, i, j in itertools.product(range(x.shape[1]), range(height), range(width)):
        down, right = DIRECTIONS[c % 8]
        above, left = i + part.distance * down, j + part.distance * right
        if 0 <= above < height and 0 <= left < width:
            moved[:, c, i, j] = x[:, c, above, left]
    return F.conv2d(moved, module.pointwise.weight, module.pointwise.bias)


def test_a_fresh_context_module_hands_on_what_is_positive() -> None:
    x = torch.randn(2, 4, 6, 7)
    assert torch.equal(ContextModule().build((4, 6, 7))(x), x.relu())


def seen(module: Any, shape: tuple[int, ...], place: tuple[int, ...]) -> Tensor:
    """Which positions an output position depends on."""
    for parameter in module.parameters():
        parameter.data = torch.rand_like(parameter) + 0.1
    x = torch.rand(1, *shape, requires_grad=True)
    (gradient,) = torch.autograd.grad(module(x)[(0, slice(None), *place)].sum(), x)
    return gradient.abs().sum((0, 1)) > 0


def test_the_receptive_field_of_a_context_module_grows_with_the_sum_of_its_dilations() -> None:
    """1 + 2 (1 + 1 + 2 + 4 + 8 + 16 + 1) = 67 positions in both directions, without holes (table 1)."""
    field = seen(ContextModule().build((1, 71, 71)), (1, 71, 71), (35, 35))
    inside = (torch.arange(71) - 35).abs() <= 33
    assert torch.equal(field, inside[:, None] & inside)


@twin_of(
    *itertools.product(
        [Bytenet(dilations=(1, 2)), Bytenet(kernel=5, dilations=(3,), causal=False)], [(4, 7), (3, 2), (1, 1)]
    ),
    tolerance=1e-9,
)
def bytenet(part: Bytenet, module: Any, x: Tensor) -> Tensor:
    """Residual blocks with the masked convolution as a sum over taps of single time steps."""
    steps = [x[:, :, t] for t in range(x.shape[2])]
    for block, dilation in zip(module.blocks, part.dilations, strict=True):
        inner = [F.relu(block.hidden_norm(block.reduce(F.relu(block.input_norm(step))))) for step in steps]
        outputs = []
        for t, step in enumerate(steps):
            total = block.convolution.bias.expand(len(x), -1)
            for k in range(part.kernel):
                other = t + dilation * (k - (part.kernel - 1 if part.causal else part.kernel // 2))
                if 0 <= other < len(steps):
                    total = total + inner[other] @ block.convolution.weight[:, :, k].T
            outputs.append(step + block.expand(F.relu(block.output_norm(total))))
        steps = outputs
    return torch.stack(steps, 2)


@pytest.mark.parametrize(("causal", "first", "last"), [(True, 33, 47), (False, 40, 54)])
def test_the_receptive_field_of_bytenet_is_the_sum_of_its_dilations(causal: bool, first: int, last: int) -> None:
    module = Bytenet(dilations=(1, 2, 4), causal=causal).build((4, 80))
    x = torch.randn(1, 4, 80, requires_grad=True)
    (gradient,) = torch.autograd.grad((module(x) * torch.randn(1, 4, 80))[..., 47].sum(), x)
    assert (gradient.abs().sum((0, 1)) > 0).nonzero().flatten().tolist() == list(range(first, last + 1))
