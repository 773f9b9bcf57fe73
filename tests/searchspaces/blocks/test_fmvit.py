"""FMViT's re-parameterized parts: what each branch computes, and what is left of them in inference."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.blocks._role import Block
from searchspaces.blocks.convolutional_fusion import ConvolutionalFusion, MultikernelFilter
from searchspaces.blocks.frequency_mixing import FrequencyMixing
from searchspaces.channel_mixers.multigroup_mlp import MultigroupMlp
from searchspaces.fused import fused
from searchspaces.mixers._multigroup import GroupedConvolution, MultigroupConvolution
from searchspaces.mixers.lightweight_attention import LightweightAttention
from tests.searchspaces.twins import assert_equal_in_value_and_gradient

PARTS = [
    ConvolutionalFusion(kernel=5, mlp=MultigroupMlp(ratio=1.5, groups=(1, 2, 3))),
    ConvolutionalFusion(kernel=1, mlp=MultigroupMlp(groups=(4,))),
    FrequencyMixing(low=LightweightAttention(heads=2, head_width=3, reduction=2, groups=(1, 2)), high_ratio=0.6),
    FrequencyMixing(low=LightweightAttention(heads=1, head_width=5, reduction=3, groups=(2, 5)), kernel=1),
]


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def seasoned(module: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """The module with random weights and statistics that have seen data, in evaluation mode."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    for _ in range(3):
        module(torch.randn(8, *shape, dtype=next(module.parameters()).dtype) * 2 + 1)
    return module.eval()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=str)
@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.kind())
@pytest.mark.parametrize("shape", [(7, 5, 6), (4, 1, 3)], ids=str)
def test_the_inference_form_is_equal(part: Block, shape: tuple[int, ...], dtype: torch.dtype, tolerance: float) -> None:
    module, x = seasoned(part.build(shape).to(dtype), shape), torch.randn(3, *shape, dtype=dtype)
    expected = module(x)
    torch.testing.assert_close(fused(module)(x), expected, rtol=0, atol=tolerance * max(1, expected.abs().max().item()))


@pytest.mark.parametrize(("part", "layers"), list(zip(PARTS, [3, 3, 9, 9], strict=True)))
def test_every_layer_is_one_convolution_in_inference(part: Block, layers: int) -> None:
    found = fused(part.build((7, 5, 6)))
    assert sum(isinstance(module, nn.Conv2d) for module in found.modules()) == layers
    assert not any(isinstance(module, nn.BatchNorm2d) for module in found.modules())


@pytest.mark.parametrize(("channels", "width", "groups"), [(6, 4, 2), (6, 9, 3), (5, 7, 2), (3, 2, 4), (1, 1, 1)])
def test_a_grouped_convolution_connects_the_channels_of_a_group_alone(channels: int, width: int, groups: int) -> None:
    def by_definition(module: nn.Module, x: Tensor) -> Tensor:
        weight, ins, outs = module.get_parameter("convolution.weight"), -(-channels // groups), -(-width // groups)
        columns = []
        for output in range(width):
            first = output // outs * ins
            taps = [weight[output, i, 0, 0] * x[:, first + i] for i in range(ins) if first + i < channels]
            columns.append(sum(taps, torch.zeros_like(x[:, 0])))
        return torch.stack(columns, 1)

    module = GroupedConvolution(channels, width, groups)
    assert_equal_in_value_and_gradient(module, by_definition, (channels, 2, 3))
    x = torch.randn(2, channels, 2, 3)
    torch.testing.assert_close(F.conv2d(x, module.matrix()), module(x))
    if not channels % groups and not width % groups:
        plain = F.conv2d(x, module.get_parameter("convolution.weight"), groups=groups)
        torch.testing.assert_close(plain, module(x))


def test_branches_add_up() -> None:
    module, x = seasoned(MultigroupConvolution(5, 6, (1, 2, 5)), (5, 3, 3)), torch.randn(2, 5, 3, 3)
    branches: list[nn.Module] = list(module.get_submodule("branches").children())
    assert len(branches) == 3
    torch.testing.assert_close(module(x), branches[0](x) + branches[1](x) + branches[2](x))


def test_a_filter_keeps_its_shortcut_in_inference() -> None:
    module = MultikernelFilter(3, 3).eval()
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    x, found = torch.randn(1, 3, 4, 4), module.fuse()
    assert isinstance(found, nn.Conv2d) and found.groups == 3
    assert torch.equal(found(x), x) and torch.equal(module(x), x)


def test_groups_ascend() -> None:
    for groups in ((), (2, 1), (1, 1), (0,)):
        with pytest.raises(ValidationError):
            MultigroupMlp(groups=groups)
