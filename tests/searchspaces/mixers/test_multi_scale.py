"""Operators of several resolutions, branches or factors: what their papers claim of them, and what merges into one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from searchspaces.mixers.collapsible_block import CollapsibleBlock
from searchspaces.mixers.depthwise import Depthwise
from searchspaces.mixers.efficient_aspp import EfficientAspp
from searchspaces.mixers.intra_channel_convolution import IntraChannelConvolution, LocalProjection
from searchspaces.mixers.large_kernel import BRANCHES, LargeKernel
from searchspaces.mixers.omni_scale import OmniScale
from searchspaces.mixers.recursive_convolution import RecursiveConvolution
from searchspaces.mixers.self_calibrated_convolution import SelfCalibratedConvolution
from tests.searchspaces.mixers.twins import assert_equal_in_value_and_gradient


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


def randomized(module: Any) -> Any:
    """The module with parameters and statistics that are nothing special, in evaluation mode."""
    for parameter in module.parameters():
        parameter.data = 0.5 * torch.randn_like(parameter)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean = torch.randn(norm.num_features)
            norm.running_var = torch.rand(norm.num_features) + 0.5
    return module.eval()


def normalized(layer: Any, x: Tensor, **options: Any) -> Tensor:
    """A convolution and its batch normalization by the running statistics, written out."""
    y, norm = F.conv2d(x, layer.convolution.weight, **options), layer.norm
    centred = (y - norm.running_mean[:, None, None]) / (norm.running_var[:, None, None] + norm.eps).sqrt()
    return centred * norm.weight[:, None, None] + norm.bias[:, None, None]


def macs(module: nn.Module, shape: tuple[int, ...]) -> int:
    with FlopCounterMode(display=False) as counter:
        module(torch.randn(1, *shape))
    return int(counter.get_total_flops()) // 2


@pytest.mark.parametrize("kernel", [1, 3, 5, 7, 9, 11, 13, 15, 17, 21])
def test_all_branches_of_a_large_kernel_merge_into_one_convolution(kernel: int) -> None:
    module, x = randomized(LargeKernel(kernel=kernel).build((3, 9, 8))), torch.randn(2, 3, 9, 8)
    fused = module.fuse()
    assert isinstance(fused, nn.Conv2d) and fused.kernel_size == (kernel, kernel) and fused.groups == 3
    torch.testing.assert_close(fused(x), module(x), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(fused.float()(x.float()), module.float()(x.float()), rtol=1e-5, atol=1e-5)


def test_branches_lie_within_their_kernel_and_have_one_dilation_each() -> None:
    for kernel, branches in BRANCHES.items():
        assert all(dilation * (size - 1) + 1 <= kernel for size, dilation in branches)
        assert len({dilation for _, dilation in branches}) == len(branches)


def test_a_large_kernel_is_the_sum_of_its_normalized_branches() -> None:
    module = randomized(LargeKernel(kernel=9).build((2, 6, 7)))

    def twin(module: Any, x: Tensor) -> Tensor:
        y = normalized(module.large, x, padding=4, groups=2)
        for (size, step), branch in zip(BRANCHES[9], module.branches.values(), strict=True):
            y = y + normalized(branch, x, padding=step * (size // 2), dilation=step, groups=2)
        return y

    assert_equal_in_value_and_gradient(module, twin, (2, 6, 7))


@pytest.mark.parametrize("kernel", [3, (1, 5), 1])
@pytest.mark.parametrize("shape", [(3, 5, 4), (1, 1, 2)])
def test_a_collapsible_block_is_its_expanded_form(kernel: Any, shape: Any) -> None:
    module: Any = randomized(CollapsibleBlock(kernel=kernel, hidden=7).build(shape))

    def twin(module: Any, x: Tensor) -> Tensor:
        wide = F.conv2d(x, module.expand, padding=module.padding)
        return x + F.conv2d(wide, module.project[:, :, None, None], module.bias)

    assert_equal_in_value_and_gradient(module, twin, shape)
    x, fused = torch.randn(2, *shape), module.fuse()
    assert isinstance(fused, nn.Conv2d)
    torch.testing.assert_close(fused(x), module(x), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(fused.float()(x.float()), module.float()(x.float()), rtol=1e-5, atol=1e-5)


def test_training_a_collapsible_block_costs_little_more_than_the_narrow_convolution() -> None:
    module: Any = CollapsibleBlock(hidden=256).build((16, 32, 32))
    narrow, expanded = 16 * 16 * 9 * 32 * 32, (16 * 256 * 9 + 256 * 16) * 32 * 32
    assert narrow < macs(module, (16, 32, 32)) < 1.5 * narrow < expanded / 10


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_recursive_convolution_has_the_published_parameters_work_and_field(levels: int) -> None:
    """(levels + 2) k^2 parameters a channel, at most 5/3 of the work, an effective kernel of about k 2^levels."""
    module: Any = RecursiveConvolution(kernel=5, levels=levels).build((2, 64, 64))
    single = Depthwise(kernel=5).build((2, 64, 64))
    assert sum(p.numel() for p in module.parameters()) == 2 * 25 * (levels + 2)
    assert 1 < macs(module, (2, 64, 64)) / macs(single, (2, 64, 64)) <= 5 / 3
    for parameter in module.parameters():
        parameter.data.fill_(1.0)
    x = torch.rand(1, 2, 64, 64, requires_grad=True)
    (gradient,) = torch.autograd.grad(module(x)[0, 0, 32, 32], x)
    assert not gradient[0, 1].any()
    assert int((gradient[0, 0, 32] != 0).sum()) >= 5 * 2**levels


def test_one_level_of_recursion_is_a_convolution_of_the_features_and_their_blurred_half() -> None:
    module: Any = RecursiveConvolution(kernel=3, levels=1, interpolation="nearest").build((2, 6, 4))

    def twin(module: Any, x: Tensor) -> Tensor:
        fine, coarse = module.levels
        half = torch.zeros(len(x), 2, 3, 2)
        padded = F.pad(x, (1, 1, 1, 1))
        for i, j, u, v in itertools.product(range(3), range(2), range(3), range(3)):
            half[:, :, i, j] = half[:, :, i, j] + module.down.weight[:, 0, u, v] * padded[:, :, 2 * i + u, 2 * j + v]
        back = F.conv2d(half, coarse.weight, padding=1, groups=2)
        return F.conv2d(x + back.repeat_interleave(2, 2).repeat_interleave(2, 3), fine.weight, padding=1, groups=2)

    assert_equal_in_value_and_gradient(module, twin, (2, 6, 4))


@pytest.mark.parametrize("shape", [(5, 8, 4), (2, 4, 8), (1, 4, 4)])
def test_self_calibration_gates_even_channels_by_their_context(shape: Any) -> None:
    def twin(module: Any, x: Tensor) -> Tensor:
        even, y = x[:, ::2], torch.zeros_like(x)
        blocks = even.unflatten(2, (-1, 4)).unflatten(4, (-1, 4)).mean((3, 5))
        context = normalized(module.context, blocks, padding=1).repeat_interleave(4, 2).repeat_interleave(4, 3)
        gate = 1 / (1 + (-even - context).exp())
        y[:, ::2] = normalized(module.refine, normalized(module.transform, even, padding=1) * gate, padding=1)
        if x.shape[1] > 1:
            y[:, 1::2] = normalized(module.plain, x[:, 1::2], padding=1)
        return y

    module = randomized(SelfCalibratedConvolution().build(shape))
    assert_equal_in_value_and_gradient(module, twin, shape)


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


def test_omni_scale_sums_its_gated_streams() -> None:
    def twin(module: Any, x: Tensor) -> Tensor:
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

    module = randomized(OmniScale(streams=3, reduction=2, gate_reduction=2).build((6, 4, 5)))
    assert_equal_in_value_and_gradient(module, twin, (6, 4, 5))


def test_instance_normalization_of_an_omni_scale_block_is_torchs() -> None:
    module: Any = randomized(OmniScale(instance_norm=True).build((4, 6, 5)))
    norm, x = module.instance_norm, torch.randn(2, 4, 6, 5)
    torch.testing.assert_close(norm(x), F.instance_norm(x, weight=norm.weight, bias=norm.bias))


def test_the_pyramid_equals_a_pointwise_convolution_of_its_concatenated_branches() -> None:
    def twin(module: Any, x: Tensor) -> Tensor:
        image = F.conv2d(x.mean((2, 3), keepdim=True), module.image.weight, module.image.bias).relu()
        branches = [image.expand_as(x), normalized(module.pointwise, x).relu()]
        for rate, cascade in zip((2, 3), module.atrous, strict=True):
            y = normalized(cascade[0], x).relu()
            for layer in cascade[1:3]:
                y = normalized(layer, y, padding=rate, dilation=rate).relu()
            branches.append(normalized(cascade[3], y).relu())
        fused = F.conv2d(torch.cat(branches, 1), torch.cat([fusion.weight for fusion in module.fusions], 1))
        return F.relu(module.norm(fused))

    module = randomized(EfficientAspp(rates=(2, 3)).build((5, 6, 7)))
    assert_equal_in_value_and_gradient(module, twin, (5, 6, 7))


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


@pytest.mark.parametrize("shape", [(3, 5, 4), (2, 1, 1), (1, 7, 8)])
@pytest.mark.parametrize("bottleneck", [1, 2, 4])
def test_an_intra_channel_unit_projects_between_convolution_and_its_transpose(bottleneck: int, shape: Any) -> None:
    def twin(module: Any, x: Tensor) -> Tensor:
        for unit in module:
            y = F.conv2d(x, unit.convolution.weight, stride=bottleneck, padding=1, groups=x.shape[1])
            y = torch.einsum("oc,bchw->bohw", unit.projection.weight[:, :, 0, 0], y)
            if bottleneck > 1:
                y = transposed(y, unit.restore.weight, bottleneck, x.shape[2:])
            x = x + F.relu(unit.norm(y))
        return x

    module = randomized(IntraChannelConvolution(bottleneck=bottleneck).build(shape))
    assert_equal_in_value_and_gradient(module, twin, shape)


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
    whole = macs(full.build(shape), shape)
    assert whole == 16 * 16 * 16 * (9 + 16)
    assert macs(IntraChannelConvolution(repeats=1, neighborhood=2).build(shape), shape) == 16 * 16 * 16 * (9 + 4)
    halved = macs(IntraChannelConvolution(repeats=1, bottleneck=2).build(shape), shape)
    assert halved == 16 * 8 * 8 * (9 + 16 + 9)


@pytest.mark.parametrize(
    ("part_class", "fields"),
    [
        (LargeKernel, {"kernel": 65}),
        (LargeKernel, {"kernel": 4}),
        (RecursiveConvolution, {"levels": 0}),
        (RecursiveConvolution, {"interpolation": "cubic"}),
        (OmniScale, {"streams": 0}),
        (EfficientAspp, {"rates": ()}),
        (IntraChannelConvolution, {"bottleneck": 0}),
        (CollapsibleBlock, {"hidden": 0}),
        (SelfCalibratedConvolution, {"pooling": 0}),
    ],
)
def test_values_out_of_bounds_are_refused(part_class: Any, fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        part_class(**fields)
