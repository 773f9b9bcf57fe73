"""LeViT's attention against its definition in loops, and what its learned biases mean for slices."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hardware.onnx_model import export_onnx
from searchspaces.architecture import Architecture
from searchspaces.blocks._biased_attention import BiasedAttention
from searchspaces.blocks.convolutional_stem import ConvolutionalStem
from searchspaces.blocks.levit_attention import LevitAttention
from searchspaces.blocks.levit_mlp import LevitMlp
from searchspaces.blocks.shrinking_attention import ShrinkingAttention
from searchspaces.placements import Placements
from searchspaces.space import SearchSpace
from searchspaces.supernet import Supernet


@pytest.fixture(autouse=True)
def double() -> object:
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def attention(size: tuple[int, int], stride: int = 1, heads: int = 2) -> BiasedAttention:
    found = BiasedAttention(5, 7, size, heads, (3, 4), stride)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.normal_()
    return found.eval()


def by_definition(module: BiasedAttention, x: Tensor) -> Tensor:
    """Head by head, query by query, key by key."""
    query, key, value = module.query(x), module.key(x), module.value(x)
    height, width = x.shape[2:]
    output = x.new_zeros(
        len(x), value.shape[1], len(range(0, height, module.stride)), len(range(0, width, module.stride))
    )
    keys, values = key.shape[1] // module.heads, value.shape[1] // module.heads
    for n in range(module.heads):
        of_keys, of_values = slice(n * keys, (n + 1) * keys), slice(n * values, (n + 1) * values)
        for i, y in enumerate(range(0, height, module.stride)):
            for j, z in enumerate(range(0, width, module.stride)):
                places = [(a, b) for a in range(height) for b in range(width)]
                scores = [
                    (query[:, of_keys, y, z] * key[:, of_keys, a, b]).sum(1) / keys**0.5
                    + module.bias[n, abs(y - a), abs(z - b)]
                    for a, b in places
                ]
                shares = torch.stack(scores, 1).softmax(1)
                output[:, of_values, i, j] = sum(
                    shares[:, p, None] * value[:, of_values, a, b] for p, (a, b) in enumerate(places)
                )
    return module.output(F.hardswish(output))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(3, 4), (1, 5), (5, 1)])
def test_attention_equals_its_definition_in_value_and_gradient(size: tuple[int, int], stride: int) -> None:
    module, x = attention(size, stride), torch.randn(2, 5, *size, requires_grad=True)
    found, expected = module(x), by_definition(module, x)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)
    leaves = [x, *module.parameters()]
    weight = torch.randn_like(found)
    pairs = zip(*(torch.autograd.grad((y * weight).sum(), leaves) for y in (found, expected)), strict=True)
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_biases_do_not_tell_left_from_right_nor_above_from_below() -> None:
    module, x = attention((3, 5)), torch.randn(2, 5, 3, 5)
    for axes in ((2,), (3,), (2, 3)):
        torch.testing.assert_close(module(x.flip(axes)), module(x).flip(axes))


def test_a_smaller_map_and_fewer_heads_keep_the_bias_of_each_head_and_offset() -> None:
    large, small = attention((4, 5), heads=3), attention((2, 3), heads=2)
    taken = BiasedAttention.take("bias", large.bias, tuple(small.bias.shape))
    assert torch.equal(taken, large.bias[:2, :2, :3])
    for size, module, table in (((4, 5), large, large.bias), ((2, 3), small, taken)):
        scores = table.flatten(1)[:, module.offsets].unflatten(2, size).unflatten(1, size)
        for head in range(2):
            assert scores[head, 0, 0, 1, 2] == scores[head, 1, 2, 0, 0] == large.bias[head, 1, 2]
            assert scores[head, 1, 1, 1, 1] == large.bias[head, 0, 0]


def test_a_corner_of_a_map_is_attended_to_as_the_whole_map_would_with_the_rest_hidden() -> None:
    large, small = attention((4, 5)), attention((2, 3))
    state = {**large.state_dict(), "bias": BiasedAttention.take("bias", large.bias, tuple(small.bias.shape)).detach()}
    small.load_state_dict(state)
    x = torch.randn(2, 5, 4, 5)
    hidden = torch.full((4, 5), -torch.inf)
    hidden[1:3, 2:5] = 0
    query, key, value = (large._split(role(x)) for role in (large.query, large.key, large.value))
    bias = large.bias.flatten(1)[:, large.offsets] + hidden.flatten()
    mixed = F.scaled_dot_product_attention(query, key, value, bias).transpose(2, 3).flatten(1, 2).unflatten(2, (4, 5))
    whole = large.output(large.activation(mixed))
    torch.testing.assert_close(small(x[:, :, 1:3, 2:5]), whole[:, :, 1:3, 2:5])


def test_residual_blocks_start_as_nothing() -> None:
    x = torch.randn(2, 6, 3, 4)
    for part in (LevitAttention(heads=2, key_width=3), LevitMlp()):
        assert torch.equal(part.build((6, 3, 4)).train()(x), x)


@pytest.mark.parametrize(("channels", "key_width", "heads"), [(48, 16, 3), (5, 16, 1), (48, 5, 9)])
def test_a_transition_has_as_many_heads_as_keys_fit_into_its_channels(
    channels: int, key_width: int, heads: int
) -> None:
    module = ShrinkingAttention(width=8, key_width=key_width).build((channels, 4, 4))
    assert module.heads == heads
    assert module.get_parameter("value.convolution.weight").shape[0] == 4 * heads * key_width


def test_a_stem_doubles_its_width_at_each_halving() -> None:
    module = ConvolutionalStem(width=32, halvings=4).build((3, 33, 64))
    widths = [tuple(p.shape[:2]) for name, p in module.named_parameters() if name.endswith("convolution.weight")]
    assert widths == [(4, 3), (32, 16), (16, 8), (8, 4)]
    assert module(torch.randn(2, 3, 33, 64)).shape == (2, 32, 3, 4)
    assert module(torch.randn(2, 3, 33, 64)).min() < -0.5, "no activation stands last"


def test_stems_of_other_depths_share_their_last_convolutions() -> None:
    options = tuple(ConvolutionalStem(width=8, halvings=count) for count in (1, 2, 3))
    from searchspaces.choice import Choice

    space = SearchSpace((3, 16, 16), (Choice("stem", options),))
    shared = dict(Supernet(Placements(space)).named_parameters())
    shapes = {name.rpartition("Convolution")[0]: tuple(p.shape[:2]) for name, p in shared.items() if p.ndim == 4}
    assert sorted(shapes.values()) == [(4, 2), (8, 3), (8, 4)]


def test_exported_graphs_hold_no_normalization(tmp_path: Path) -> None:
    torch.set_default_dtype(torch.float32)
    stem, levit = ConvolutionalStem(width=8, halvings=2), LevitAttention(heads=2, key_width=4)
    parts = (stem, levit, LevitMlp(), ShrinkingAttention(width=12, key_width=4))
    network = Architecture((3, 12, 12), parts).build()
    for _ in range(3):
        network(torch.randn(8, 3, 12, 12))
    export_onnx(network.eval(), (3, 12, 12), tmp_path / "model.onnx")
    kinds = {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}
    assert "Conv" in kinds and "BatchNormalization" not in kinds
