"""Costs, against formulas written out by hand and against torch's own counter on real tensors."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from searchspaces.blocks._role import Block
from searchspaces.blocks.channel_mixing import ChannelMixing
from searchspaces.blocks.classifier import Classifier
from searchspaces.blocks.inverted_bottleneck import InvertedBottleneck
from searchspaces.blocks.patch_embedding import PatchEmbedding
from searchspaces.blocks.token_mixing import TokenMixing
from searchspaces.blocks.transition import Transition
from searchspaces.channel_mixers.mlp import Mlp
from searchspaces.cost import Cost, architecture_cost, cost
from searchspaces.extremes import extremes
from searchspaces.mixers.attention import Attention
from searchspaces.mixers.depthwise import Depthwise
from searchspaces.mixers.rep_mixer import RepMixer
from searchspaces.part import Shape
from searchspaces.placements import Placements
from searchspaces.quantization.integer import Integer
from tests.searchspaces.spaces import FAMILIES, space

C, H, W = 6, 5, 7
FORMULAS: dict[str, tuple[Block, int, int]] = {
    "depthwise": (TokenMixing(mixer=Depthwise(kernel=3, dilation=2)), C * 9 * H * W, C * 9 + C),
    "mlp": (ChannelMixing(mixer=Mlp(ratio=2.0)), 2 * C * 2 * C * H * W, 4 * C * C + 3 * C),
    "classifier": (Classifier(classes=4), 4 * C, 4 * C + 4),
    "stem": (PatchEmbedding(patch=2, width=8), C * 16 * 8 * 3 * 4, C * 16 * 8),
    "transition": (Transition(width=9, stride=2), C * 9 * 9 * 3 * 4, C * 9 * 9 + 9),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_macs_and_parameters_equal_the_formula(name: str) -> None:
    part, macs, parameters = FORMULAS[name]
    found = cost(part, (C, H, W))
    norms = sum(p.numel() for n, p in part.build((C, H, W)).named_parameters() if n.startswith("norm."))
    assert (found.macs, found.parameters) == (macs, parameters + norms)


def test_depthwise_macs_are_those_of_depthwise_convolutions_alone() -> None:
    part = InvertedBottleneck(width=8, kernel=5, expansion=2.0, stride=1)
    assert cost(part, (C, H, W)).depthwise_macs == 2 * C * 25 * H * W
    assert cost(part, (C, H, W)).macs > cost(part, (C, H, W)).depthwise_macs
    depthwise, mlp = FORMULAS["depthwise"], FORMULAS["mlp"]
    assert cost(depthwise[0], (C, H, W)).depthwise_macs == depthwise[1]
    assert cost(mlp[0], (C, H, W)).depthwise_macs == 0
    both = cost(depthwise[0], (C, H, W)) + cost(part, (C, H, W))
    assert both.depthwise_macs == depthwise[1] + 2 * C * 25 * H * W


def test_a_convolution_of_one_channel_is_not_depthwise() -> None:
    assert cost(PatchEmbedding(patch=2, width=8), (1, H, W)).depthwise_macs == 0


def test_attention_counts_its_products() -> None:
    heads, width, tokens = 3, 4, H * W
    part = TokenMixing(mixer=Attention(heads=heads, head_width=width))
    projections = 4 * C * heads * width * tokens
    assert cost(part, (C, H, W)).macs == projections + 2 * heads * tokens * tokens * width


@pytest.mark.parametrize(
    "part", [InvertedBottleneck(width=8, stride=2), TokenMixing(mixer=Depthwise(kernel=5))], ids=str
)
def test_macs_equal_torchs_counter_on_real_tensors(part: Block) -> None:
    with FlopCounterMode(display=False) as counter:
        part.build((C, H, W)).eval()(torch.randn(1, C, H, W))
    assert cost(part, (C, H, W)).macs * 2 == counter.get_total_flops()


@pytest.mark.parametrize("family", FAMILIES)
def test_parameters_and_shapes_of_whole_networks(family: str) -> None:
    import numpy as np

    found = space(FAMILIES[family])
    for row in found.sample(np.random.default_rng(0), 5):
        architecture = found.decode(row)
        network = architecture.build(quantize=False).eval()
        assert architecture_cost(architecture).parameters == sum(p.numel() for p in network.parameters())
        seen: list[list[tuple[int, ...]]] = []
        for module in network:
            module.register_forward_pre_hook(
                lambda module, inputs, seen=seen: seen.append([tuple(x.shape[1:]) for x in inputs])
            )
        assert network(torch.randn(2, *architecture.input_shape)).shape == (2, 5)
        for shapes, placement in zip(seen, architecture.blocks(), strict=True):
            assert set(shapes) == {placement.shape}


def test_costs_add_and_peaks_do_not() -> None:
    assert Cost(1, 2, 3, 4, 5) + Cost(10, 20, 30, 2, 50) == Cost(11, 22, 33, 4, 55)


def test_quantization_does_not_change_the_count() -> None:
    plain = TokenMixing(mixer=Depthwise())
    assert cost(plain, (C, H, W)) == cost(plain.model_copy(update={"quantization": Integer()}), (C, H, W))


def test_activations_are_counted_in_bytes() -> None:
    shape: Shape = (C, H, W)
    found = cost(Classifier(classes=4), shape)
    statistics = 2 * 4 * C  # batch normalization also returns the mean and deviation that it used
    assert found.peak_activation_bytes == 2 * 4 * C * H * W + statistics and found.kernels == 3


@pytest.mark.parametrize("family", FAMILIES)
def test_extremes_bound_the_costs_of_all_others(family: str) -> None:
    import numpy as np

    found = space(FAMILIES[family])
    placements = Placements(found)
    smallest, largest = (architecture_cost(found.decode(row)).macs for row in extremes(placements))
    sampled = [architecture_cost(found.decode(row)).macs for row in found.sample(np.random.default_rng(0), 200)]
    assert smallest <= min(sampled) and max(sampled) <= largest


def test_what_trains_in_another_form_costs_what_is_deployed() -> None:
    part = TokenMixing(mixer=RepMixer(kernel=5))
    norms = 2 * C
    assert cost(part, (C, H, W)) == cost(TokenMixing(mixer=Depthwise(kernel=5)), (C, H, W))
    assert cost(part, (C, H, W)).parameters == C * 25 + C + norms
