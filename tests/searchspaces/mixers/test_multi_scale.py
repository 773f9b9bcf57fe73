"""Operators of several resolutions, branches or factors: what their papers claim of them, and what merges into one."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers.collapsible_block import CollapsibleBlock
from searchspaces.mixers.depthwise import Depthwise
from searchspaces.mixers.efficient_aspp import EfficientAspp
from searchspaces.mixers.intra_channel_convolution import IntraChannelConvolution, LocalProjection
from searchspaces.mixers.large_kernel import BRANCHES, LargeKernel
from searchspaces.mixers.omni_scale import OmniScale
from searchspaces.mixers.recursive_convolution import RecursiveConvolution
from searchspaces.mixers.self_calibrated_convolution import SelfCalibratedConvolution
from tests.searchspaces.twins import (
    assert_equal_in_value_and_gradient,
    batch_normalized,
    depthwise,
    multiplications,
    randomized,
    twin_of,
)


def normalized(layer: Any, x: Tensor, **options: Any) -> Tensor:
    """A convolution and its batch normalization by the running statistics, written out."""
    return batch_normalized(layer.norm, F.conv2d(x, layer.convolution.weight, **options))


@pytest.mark.parametrize("kernel", [1, 3, 5, 7, 9, 11, 13, 15, 17, 21])
def test_all_branches_of_a_large_kernel_merge_into_one_convolution(kernel: int) -> None:
    module, x = randomized(LargeKernel(kernel=kernel).build((3, 9, 8))), torch.randn(2, 3, 9, 8)
    fused = module.fuse()
    assert isinstance(fused, nn.Conv2d) and fused.kernel_size == (kernel, kernel) and fused.groups == 3
    torch.testing.assert_close(fused(x), module(x), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(fused.float()(x.float()), module.float()(x.float()), rtol=1e-5, atol=1e-5)


@twin_of((LargeKernel(kernel=9), (2, 6, 7)), (LargeKernel(), (3, 5, 3)))
def large_kernel(part: LargeKernel, module: Any, x: Tensor) -> Tensor:
    """The sum of the normalized branches, tap by tap."""
    y = batch_normalized(module.large.norm, depthwise(x, module.large.convolution.weight))
    for (_, step), branch in zip(BRANCHES[part.kernel], module.branches.values(), strict=True):
        y = y + batch_normalized(branch.norm, depthwise(x, branch.convolution.weight, step=step))
    return y


def test_branches_lie_within_their_kernel_and_have_one_dilation_each() -> None:
    for kernel, branches in BRANCHES.items():
        assert all(dilation * (size - 1) + 1 <= kernel for size, dilation in branches)
        assert len({dilation for _, dilation in branches}) == len(branches)


KERNELS: list[Any] = [3, (1, 5), 1]


@twin_of(
    *((CollapsibleBlock(kernel=kernel, hidden=7), shape) for kernel in KERNELS for shape in [(3, 5, 4), (1, 1, 2)])
)
def collapsible(part: CollapsibleBlock, module: Any, x: Tensor) -> Tensor:
    """The expanded form."""
    wide = F.conv2d(x, module.expand, padding=module.padding)
    return x + F.conv2d(wide, module.project[:, :, None, None], module.bias)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shape", [(3, 5, 4), (1, 1, 2)])
def test_a_collapsible_block_is_one_convolution(kernel: Any, shape: Any) -> None:
    module: Any = randomized(CollapsibleBlock(kernel=kernel, hidden=7).build(shape))
    x, fused = torch.randn(2, *shape), module.fuse()
    assert isinstance(fused, nn.Conv2d)
    torch.testing.assert_close(fused(x), module(x), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(fused.float()(x.float()), module.float()(x.float()), rtol=1e-5, atol=1e-5)


def test_training_a_collapsible_block_costs_little_more_than_the_narrow_convolution() -> None:
    narrow, expanded = 16 * 16 * 9 * 32 * 32, (16 * 256 * 9 + 256 * 16) * 32 * 32
    assert narrow < multiplications(CollapsibleBlock(hidden=256), (16, 32, 32)) < 1.5 * narrow < expanded / 10


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_recursive_convolution_has_the_published_parameters_work_and_field(levels: int) -> None:
    """(levels + 2) k^2 parameters a channel, at most 5/3 of the work, an effective kernel of about k 2^levels."""
    part, shape = RecursiveConvolution(kernel=5, levels=levels), (2, 64, 64)
    module: Any = part.build(shape)
    assert sum(p.numel() for p in module.parameters()) == 2 * 25 * (levels + 2)
    assert 1 < multiplications(part, shape) / multiplications(Depthwise(kernel=5), shape) <= 5 / 3
    for parameter in module.parameters():
        parameter.data.fill_(1.0)
    x = torch.rand(1, 2, 64, 64, requires_grad=True)
    (gradient,) = torch.autograd.grad(module(x)[0, 0, 32, 32], x)
    assert not gradient[0, 1].any()
    assert int((gradient[0, 0, 32] != 0).sum()) >= 5 * 2**levels


@twin_of(
    (RecursiveConvolution(kernel=3, levels=1, interpolation="nearest"), (2, 6, 4)),
    (RecursiveConvolution(kernel=3, levels=2), (2, 7, 5)),
)
def recursive(part: RecursiveConvolution, module: Any, x: Tensor) -> Tensor:
    """The finest level convolves the features and what comes back from their blurred half."""

    def level(x: Tensor, number: int) -> Tensor:
        weight = module.levels[number].weight
        if number == part.levels:
            return depthwise(x, weight)
        blurred = depthwise(x, module.down.weight)[:, :, ::2, ::2]
        back = F.interpolate(level(blurred, number + 1), size=x.shape[2:], mode=part.interpolation)
        return depthwise(x + back, weight)

    return level(x, 0)


@twin_of(*((SelfCalibratedConvolution(), shape) for shape in [(5, 8, 4), (2, 4, 8), (1, 4, 4)]))
def self_calibrated(part: SelfCalibratedConvolution, module: Any, x: Tensor) -> Tensor:
    """Even channels, gated by the means over blocks; odd ones plain."""
    even, y, size = x[:, ::2], torch.zeros_like(x), part.pooling
    blocks = even.unflatten(2, (-1, size)).unflatten(4, (-1, size)).mean((3, 5))
    context = normalized(module.context, blocks, padding=1).repeat_interleave(size, 2).repeat_interleave(size, 3)
    gate = 1 / (1 + (-even - context).exp())
    y[:, ::2] = normalized(module.refine, normalized(module.transform, even, padding=1) * gate, padding=1)
    if x.shape[1] > 1:
        y[:, 1::2] = normalized(module.plain, x[:, 1::2], padding=1)
    return y


def test_stream_t_sees_2t_plus_1_positions_and_one_gate_serves_all_streams() -> None:
    module: Any = randomized(OmniScale(streams=4, reduction=1).build((4, 13, 13)))
    for length, stream in enumerate(module.streams, start=1):
        for parameter in stream.parameters():
            parameter.data = parameter.data.abs() + 0.1
        for norm in (layer.depthwise.norm for layer in stream):
            norm.running_mean.zero_()
        x = torch.rand(1, 4, 13, 13, requires_grad=True)
        (gradient,) = torch.autograd.grad(stream(x)[..., 6, 6].sum(), x)
        assert int((gradient[0, 0, 6] != 0).sum()) == 2 * length + 1
    assert sum(name.startswith("gate") for name, _ in module.named_parameters()) == 4


@twin_of((OmniScale(streams=3, reduction=2, gate_reduction=2), (6, 4, 5)))
def omni_scale(part: OmniScale, module: Any, x: Tensor) -> Tensor:
    """The sum of the gated streams."""
    reduced, total = normalized(module.reduce, x).relu(), torch.zeros(())
    for stream in module.streams:
        y = reduced
        for layer in stream:
            y = F.conv2d(y, layer.pointwise.weight)
            y = normalized(layer.depthwise, y, padding=1, groups=y.shape[1]).relu()
        hidden = (y.mean((2, 3)) @ module.gate.reduce.weight[:, :, 0, 0].T + module.gate.reduce.bias).relu()
        gate = (hidden @ module.gate.expand.weight[:, :, 0, 0].T + module.gate.expand.bias).sigmoid()
        total = total + y * gate[:, :, None, None]
    return normalized(module.expand, total)


def test_instance_normalization_of_an_omni_scale_block_is_torchs() -> None:
    module: Any = randomized(OmniScale(instance_norm=True).build((4, 6, 5)))
    norm, x = module.instance_norm, torch.randn(2, 4, 6, 5)
    torch.testing.assert_close(norm(x), F.instance_norm(x, weight=norm.weight, bias=norm.bias))


@twin_of((EfficientAspp(rates=(2, 3)), (5, 6, 7)))
def pyramid(part: EfficientAspp, module: Any, x: Tensor) -> Tensor:
    """A pointwise convolution of the concatenated branches."""
    image = F.conv2d(x.mean((2, 3), keepdim=True), module.image.weight, module.image.bias).relu()
    branches = [image.expand_as(x), normalized(module.pointwise, x).relu()]
    for rate, cascade in zip(part.rates, module.atrous, strict=True):
        y = normalized(cascade[0], x).relu()
        for layer in cascade[1:3]:
            y = normalized(layer, y, padding=rate, dilation=rate, groups=layer.convolution.groups).relu()
        branches.append(normalized(cascade[3], y).relu())
    fused = F.conv2d(torch.cat(branches, 1), torch.cat([fusion.weight for fusion in module.fusions], 1))
    return F.relu(module.norm(fused))


def test_an_efficient_branch_has_less_than_a_fifth_of_the_parameters_and_twice_the_field() -> None:
    module: Any = EfficientAspp(rates=(3,)).build((64, 25, 25))
    assert sum(p.numel() for p in module.atrous[0].parameters()) < 64 * 64 * 9 / 5
    middle = module.atrous[0][1:3].eval()
    for parameter in middle.parameters():
        parameter.data = parameter.data.abs() + 0.1
    x = torch.rand(1, 16, 25, 25, requires_grad=True)
    (gradient,) = torch.autograd.grad(middle(x)[..., 12, 12].sum(), x)
    reached = (gradient[0, 0, 12] != 0).nonzero().flatten()
    assert int(reached.max() - reached.min()) == 2 * (2 * 3)


@pytest.mark.parametrize(("channels", "box"), [(9, (2, 2)), (7, (2, 3)), (1, (2, 2)), (5, (9, 9))])
def test_a_local_projection_connects_a_box_of_the_channel_grid(channels: int, box: tuple[int, int]) -> None:
    module, columns = LocalProjection(channels, box), next(n for n in range(10) if n * n >= channels)
    offsets = sorted({(i * columns + j) % channels for i in range(box[0]) for j in range(box[1])})

    def twin(module: Any, x: Tensor) -> Tensor:
        rows = []
        for output in range(channels):
            terms = [
                module.weights.weight[output, place, 0, 0] * x[:, (output + offset) % channels]
                for place, offset in enumerate(offsets)
            ]
            rows.append(torch.stack(terms).sum(0))
        return torch.stack(rows, 1)

    assert_equal_in_value_and_gradient(module, twin, (channels, 3, 2))


@twin_of(
    *itertools.product(
        [IntraChannelConvolution(bottleneck=bottleneck) for bottleneck in (1, 2, 4)], [(3, 5, 4), (2, 1, 1), (1, 7, 8)]
    ),
)
def intra_channel(part: IntraChannelConvolution, module: Any, x: Tensor) -> Tensor:
    """Units that project between a strided convolution and its transpose."""
    for unit in module:
        y = F.conv2d(x, unit.convolution.weight, stride=part.bottleneck, padding=1, groups=x.shape[1])
        y = torch.einsum("oc,bchw->bohw", unit.projection.weight[:, :, 0, 0], y)
        if part.bottleneck > 1:
            y = transposed(y, unit.restore.weight, part.bottleneck, x.shape[2:])
        x = x + F.relu(unit.norm(y))
    return x


def transposed(y: Tensor, weight: Tensor, stride: int, size: Any) -> Tensor:
    """Each value spread by the kernel around its place, as far as the image goes."""
    taps, result = weight.shape[2], torch.zeros(*y.shape[:2], *size)
    for i, j, u, v in itertools.product(range(y.shape[2]), range(y.shape[3]), range(taps), range(taps)):
        row, column = i * stride + u - taps // 2, j * stride + v - taps // 2
        if 0 <= row < size[0] and 0 <= column < size[1]:
            result[:, :, row, column] = result[:, :, row, column] + y[:, :, i, j] * weight[:, 0, u, v]
    return result


def test_both_schemes_of_the_intra_channel_layer_save_projections() -> None:
    shape, full = (16, 16, 16), IntraChannelConvolution(repeats=1)
    whole = multiplications(full, shape)
    assert whole == 16 * 16 * 16 * (9 + 16)
    assert multiplications(IntraChannelConvolution(repeats=1, neighborhood=2), shape) == 16 * 16 * 16 * (9 + 4)
    halved = multiplications(IntraChannelConvolution(repeats=1, bottleneck=2), shape)
    assert halved == 16 * 8 * 8 * (9 + 16 + 9)
