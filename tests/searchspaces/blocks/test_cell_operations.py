"""The operations of the published cells, each against its definition written with torch's functions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from searchspaces.blocks._role import Block
from searchspaces.blocks.basic_residual import BasicResidual
from searchspaces.blocks.concatenation import Concatenation
from searchspaces.blocks.factorized_convolution import FactorizedConvolution
from searchspaces.blocks.pool import Pool
from searchspaces.blocks.pooled_classifier import PooledClassifier
from searchspaces.blocks.preprocessing import Preprocessing
from searchspaces.blocks.relu_convolution import ReluConvolution
from searchspaces.blocks.separable_convolution import SeparableConvolution
from searchspaces.blocks.skip_connection import SkipConnection
from searchspaces.blocks.sum import Sum
from searchspaces.blocks.zero import Zero
from searchspaces.networks._operations import OPERATIONS, name_of
from searchspaces.quantization.integer import Integer
from searchspaces.skeleton import roles

SHAPE = (6, 9, 7)


def built(block: Block) -> tuple[torch.nn.Module, list[Tensor], Tensor]:
    """The module in training mode, so that a normalization is a plain standardization; its kernels; an input."""
    torch.manual_seed(0)
    module = block.build(SHAPE).double().train()
    kernels = [parameter for parameter in module.parameters() if parameter.ndim == 4]
    return module, kernels, torch.randn(4, *SHAPE, dtype=torch.float64)


def standardized(x: Tensor) -> Tensor:
    mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, unbiased=False)
    return (x - mean) / (variance + 1e-5).sqrt()


@pytest.mark.parametrize("stride", [1, 2])
def test_a_separable_convolution_is_applied_twice_and_strides_once(stride: int) -> None:
    module, (depth1, point1, depth2, point2), x = built(SeparableConvolution(kernel=5, stride=stride))
    once = standardized(F.conv2d(F.conv2d(x.relu(), depth1, None, stride, 2, 1, 6), point1))
    expected = standardized(F.conv2d(F.conv2d(once.relu(), depth2, None, 1, 2, 1, 6), point2))
    torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_dilated_convolution_is_applied_once(stride: int) -> None:
    module, (depth, point), x = built(SeparableConvolution(kernel=3, stride=stride, dilation=2, repeats=1))
    expected = standardized(F.conv2d(F.conv2d(x.relu(), depth, None, stride, 2, 2, 6), point))
    torch.testing.assert_close(module(x), expected)


def test_relu_comes_before_convolution_and_normalization() -> None:
    for block in (ReluConvolution(kernel=3), ReluConvolution(kernel=1)):
        module, (kernel,), x = built(block)
        torch.testing.assert_close(module(x), standardized(F.conv2d(x.relu(), kernel, padding=block.kernel // 2)))


def test_a_factorized_convolution_runs_along_rows_then_columns() -> None:
    module, (along, down), x = built(FactorizedConvolution(kernel=7, stride=2))
    rows = F.conv2d(x.relu(), along, None, (1, 2), (0, 3))
    torch.testing.assert_close(module(x), standardized(F.conv2d(rows, down, None, (2, 1), (3, 0))))


@pytest.mark.parametrize("block", [SkipConnection(stride=2), Preprocessing(width=6, stride=2)])
def test_a_factorized_reduction_reads_even_and_odd_positions(block: Block) -> None:
    module, (even, odd), x = built(block)
    shifted = F.pad(x.relu(), (0, 1, 0, 1))[:, :, 1::2, 1::2]
    expected = torch.cat([F.conv2d(x.relu()[:, :, ::2, ::2], even), F.conv2d(shifted, odd)], 1)
    torch.testing.assert_close(module(x), standardized(expected))


def test_preprocessing_fits_an_older_output_to_the_current_one() -> None:
    block = Preprocessing(width=5)
    assert block.fitted((3, 9, 7), (4, 9, 7)) == block
    assert block.fitted((3, 9, 7), (4, 5, 4)) == Preprocessing(width=5, stride=2)
    assert block.fitted((3, 9, 7), (4, 5, 4)).output_shape((3, 9, 7)) == (5, 5, 4)
    module, (kernel,), x = built(block)
    torch.testing.assert_close(module(x), standardized(F.conv2d(x.relu(), kernel)))


def test_pools_do_not_count_positions_outside() -> None:
    x = torch.ones(1, 2, 4, 4)
    assert Pool().build((2, 4, 4))(x).eq(1).all()
    negative = Pool(mode="maximum", stride=2).build((2, 4, 4))(-x)
    assert negative.shape == (1, 2, 2, 2) and negative.eq(-1).all()


def test_zero_and_skip() -> None:
    x = torch.randn(2, *SHAPE)
    assert torch.equal(SkipConnection().build(SHAPE)(x), x)
    assert not Zero(stride=2).build(SHAPE)(x).any() and Zero(stride=2).build(SHAPE)(x).shape == (2, 6, 5, 4)


def test_joins_add_and_concatenate_and_take_one_input_as_several() -> None:
    values = [torch.randn(2, *SHAPE) for _ in range(3)]
    total, side = Sum(inputs=3).build(SHAPE), Concatenation(inputs=3).build(SHAPE)
    torch.testing.assert_close(total(*values), values[0] + values[1] + values[2])
    torch.testing.assert_close(side(*values), torch.cat(values, 1))
    torch.testing.assert_close(total(values[0]), 3 * values[0])
    torch.testing.assert_close(side(values[0]), torch.cat([values[0]] * 3, 1))


def test_the_residual_block_reduces_its_shortcut_by_averages() -> None:
    module, (first, second, project), x = built(BasicResidual(width=8))
    inner = standardized(F.conv2d(x.relu(), first, None, 2, 1))
    branch = standardized(F.conv2d(inner.relu(), second, None, 1, 1))
    shortcut = F.conv2d(F.avg_pool2d(x, 2, ceil_mode=True), project)
    torch.testing.assert_close(module(x), branch + shortcut)
    assert isinstance(BasicResidual(width=6, stride=1).build(SHAPE).shortcut, torch.nn.Identity)


def test_the_head_normalizes_where_it_is_told_to() -> None:
    module, _, x = built(PooledClassifier(classes=3, normalized=True))
    linear = module.linear
    torch.testing.assert_close(module(x), linear(standardized(x).relu().mean((2, 3))))  # type: ignore[operator]
    plain, _, _ = built(PooledClassifier(classes=3))
    torch.testing.assert_close(plain(x), plain.linear(x.mean((2, 3))))  # type: ignore[operator]


@pytest.mark.parametrize("stride", [1, 2])
def test_each_operation_has_a_name_and_weights_of_its_own(stride: int) -> None:
    keys: set[str] = set()
    for name, operation in OPERATIONS.items():
        block = operation(stride)
        assert name_of(block) == name == name_of(block.model_copy(update={"quantization": Integer()}))
        own = {role.key for role in roles(block.build(SHAPE)).values()}
        assert not own & keys
        keys |= own
    with pytest.raises(ValueError, match="no published operation"):
        name_of(ReluConvolution(kernel=5))
