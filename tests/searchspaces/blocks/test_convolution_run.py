"""Runs of convolutions: what merges computes the same as what it was trained as."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from searchspaces.blocks.convolution_run import ConvolutionRun, Link
from searchspaces.cost import cost
from searchspaces.fused import fused
from searchspaces.mixers._fusion import merged
from searchspaces.placements import Placements
from searchspaces.supernet import Supernet
from tests.searchspaces.spaces import choice, space

LINKS = (Link(width=6, kernel=1), Link(width=7, kernel=3), Link(width=4, kernel=5))
FORMS = list(itertools.product(["activation", "linear", "merged"], repeat=2))
TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-5}


def trained(part: ConvolutionRun, channels: int, dtype: torch.dtype) -> nn.Module:
    """A run whose normalizations have seen data."""
    torch.manual_seed(0)
    module = part.build((channels, 9, 8)).to(dtype)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    for _ in range(2):
        module(torch.randn(8, channels, 9, 8, dtype=dtype))
    return module.eval()


@given(
    st.tuples(*[st.integers(1, 4)] * 3),
    st.tuples(*[st.sampled_from([1, 2, 3, 5])] * 2),
    st.tuples(*[st.integers(1, 3)] * 2),
    st.integers(0, 3),
)
def test_two_convolutions_merge_into_one(
    widths: tuple[int, int, int], kernels: tuple[int, int], strides: tuple[int, int], padding: int
) -> None:
    torch.manual_seed(0)
    first = nn.Conv2d(widths[0], widths[1], kernels[0], strides[0], padding).double()
    second = nn.Conv2d(widths[1], widths[2], kernels[1], strides[1]).double()
    x = torch.randn(2, widths[0], 19, 17, dtype=torch.float64)
    one = merged(first, second)
    assert one.kernel_size[0] == kernels[0] + strides[0] * (kernels[1] - 1)
    torch.testing.assert_close(one(x), second(first(x)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("joints", FORMS, ids="-".join)
def test_the_merged_run_computes_what_the_trained_one_computes(
    joints: tuple[Any, ...], stride: int, dtype: torch.dtype
) -> None:
    part = ConvolutionRun(links=LINKS, joints=joints, stride=stride)
    module, x = trained(part, 3, dtype), torch.randn(2, 3, 9, 8, dtype=dtype)
    short = fused(module)
    assert module(x).shape[1:] == short(x).shape[1:] == part.output_shape((3, 9, 8))
    torch.testing.assert_close(
        short(x), module(x), rtol=0, atol=TOLERANCES[dtype] * max(1.0, module(x).abs().max().item())
    )
    convolutions = [layer for layer in short.modules() if isinstance(layer, nn.Conv2d)]
    assert len(convolutions) == 3 - joints.count("merged")
    assert sum(isinstance(layer, nn.ReLU) for layer in short.modules()) == 1 + joints.count("activation")


def test_without_mergers_each_convolution_keeps_the_size_by_zeros_of_its_own() -> None:
    module, x = trained(ConvolutionRun(links=LINKS, joints=("linear",)), 3, torch.float64), torch.randn(2, 3, 9, 8)
    expected = x = x.double()
    for index, layer in enumerate(module.layers):  # type: ignore[arg-type]
        size = LINKS[index].kernel
        expected = layer.norm(F.conv2d(expected, layer.convolution.weight, padding=size // 2))
        expected = expected.relu() if index else expected
    torch.testing.assert_close(module(x), expected, rtol=0, atol=1e-12)


def test_a_narrow_end_makes_the_merged_run_cheaper() -> None:
    links = (Link(width=24, kernel=1), Link(width=24, kernel=3), Link(width=4, kernel=1))
    apart, one = (
        cost(ConvolutionRun(links=links, joints=(joint, joint)), (4, 8, 8)) for joint in ("activation", "merged")
    )
    assert one.macs == 4 * 4 * 9 * 64 < apart.macs
    assert one.parameters == 4 * 4 * 9 + 4


def test_all_forms_share_their_weights() -> None:
    run = {"kind": "convolution_run", "links": [{"width": 4}, {"width": choice(3, 5)}, {"width": 4}]}
    joints = [choice("activation", "merged"), choice("activation", "linear", "merged")]
    blocks = [{**run, "joints": joints}, {"kind": "classifier", "classes": 5}]
    found = space({"kind": "chain", "blocks": blocks})
    assert [decision.name for decision in found.decisions[1:]] == ["space.blocks.0.joints.0", "space.blocks.0.joints.1"]
    supernet = Supernet(Placements(found))
    first, second = (supernet.subnet(found.decode(np.array(row))).state() for row in ([1, 0, 0], [1, 1, 2]))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert first.keys() == second.keys()


def test_there_is_one_joint_less_than_convolutions() -> None:
    with pytest.raises(ValueError, match="3 convolutions have 2 joints"):
        ConvolutionRun(links=LINKS, joints=("linear",) * 3).build((3, 8, 8))
