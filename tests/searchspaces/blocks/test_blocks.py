"""Every block: the shape that it promises, gradients everywhere, independent samples; and what single ones compute."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from searchspaces.blocks._role import Block
from searchspaces.blocks.channel_mixing import ChannelMixing
from searchspaces.blocks.convolution_run import Link
from searchspaces.blocks.inverted_bottleneck import InvertedBottleneck
from searchspaces.blocks.patch_embedding import PatchEmbedding
from searchspaces.blocks.resize import Resize
from searchspaces.blocks.transition import Transition
from searchspaces.channel_mixers.mlp import Mlp
from searchspaces.part import Shape
from searchspaces.registry import kinds, resolve

REQUIRED: dict[str, Any] = {
    "width": 6,
    "classes": 3,
    "maps": 3,
    "resolution": 5,
    "mixer": Mlp(ratio=1.0),
    "links": (Link(width=6), Link(width=5)),
}
SHAPES: list[Shape] = [(4, 8, 8), (3, 7, 5), (1, 1, 2), (5, 6, 9)]


def taken(block: Block, shape: Shape) -> Shape:
    """The shape, as tokens in a column where the block takes no images."""
    return (shape[0], math.prod(shape[1:]), 1) if block.kind() == "token_classifier" else shape


def examples(kind: str) -> list[Block]:
    """A block with its defaults, and with each other stride and width."""
    part = resolve(Block, kind)
    values = {name: REQUIRED[name] for name, field in part.model_fields.items() if field.is_required()}
    if kind == "token_mixing":
        from searchspaces.mixers.depthwise import Depthwise

        values["mixer"] = Depthwise()
    changes = [{}, *({"stride": stride} for stride in (1, 2, 3) if "stride" in part.model_fields)]
    return [part(**{**values, **change}) for change in changes]


EXAMPLES = [block for kind in kinds(Block) for block in examples(kind)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("block", EXAMPLES, ids=lambda block: f"{block.kind()}-{getattr(block, 'stride', '')}")
def test_the_output_has_the_promised_shape_and_gradients_reach_everything(block: Block, shape: Shape) -> None:
    shape = taken(block, shape)
    module = block.build(shape)
    x = torch.randn(3, *shape, requires_grad=True)
    y = module(x)
    assert tuple(y.shape) == (3, *block.output_shape(shape))
    (y * torch.randn_like(y)).sum().backward()
    assert x.grad is not None and torch.isfinite(x.grad).all()
    assert all(parameter.grad is not None for parameter in module.parameters())


@pytest.mark.parametrize("block", EXAMPLES, ids=lambda block: f"{block.kind()}-{getattr(block, 'stride', '')}")
def test_samples_are_independent_in_evaluation(block: Block) -> None:
    shape = taken(block, (4, 8, 8))
    module = block.build(shape).eval()
    x = torch.randn(3, *shape)
    torch.testing.assert_close(module(x)[1:2], module(x[1:2]), rtol=1e-5, atol=1e-5)


def test_an_inverted_bottleneck_has_its_shortcut_only_where_the_shape_stays() -> None:
    for part, expected in (
        (InvertedBottleneck(width=4), True),
        (InvertedBottleneck(width=4, stride=2), False),
        (InvertedBottleneck(width=5), False),
    ):
        module = part.build((4, 6, 6)).eval()
        for parameter in module.project.parameters():  # type: ignore[union-attr]
            nn.init.zeros_(parameter)
        x = torch.randn(1, 4, 6, 6)
        assert torch.equal(module(x), x) if expected else not module(x).any()


def test_a_patch_embedding_without_overlap_is_a_matrix_product_for_each_patch() -> None:
    module = PatchEmbedding(patch=2, width=5, overlap=0).build((3, 4, 6)).eval()
    x = torch.randn(2, 3, 4, 6)
    patches = F.unfold(x, 2, stride=2)
    expected = (module.projection.weight.flatten(1) @ patches).view(2, 5, 2, 3)  # type: ignore[union-attr,operator]
    torch.testing.assert_close(module(x), expected / (1 + 1e-5) ** 0.5, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("part", [PatchEmbedding(width=4, activation="relu"), Transition(width=4, activation="relu")])
def test_an_activation_stands_last(part: Block) -> None:
    plain = part.model_copy(update={"activation": "none"})
    torch.manual_seed(0)
    with_activation = part.build((3, 6, 6)).eval()
    torch.manual_seed(0)
    without = plain.build((3, 6, 6)).eval()
    x = torch.randn(1, 3, 6, 6)
    torch.testing.assert_close(with_activation(x), without(x).relu())


def test_resize_to_the_same_size_does_nothing_and_halving_averages() -> None:
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert isinstance(Resize(resolution=4).build((1, 4, 4)), nn.Identity)
    torch.testing.assert_close(Resize(resolution=2).build((1, 4, 4))(x), F.avg_pool2d(x, 2))


def test_layer_normalization_is_a_choice() -> None:
    batch, layer = (ChannelMixing(mixer=Mlp(), norm=norm).build((4, 3, 3)) for norm in ("batch", "layer"))
    assert isinstance(batch.norm, nn.BatchNorm2d) and isinstance(layer.norm, nn.GroupNorm)
    assert layer.norm.num_groups == 1


def test_token_normalization_is_that_of_each_position_by_itself() -> None:
    module = ChannelMixing(mixer=Mlp(), norm="token").build((4, 3, 2)).get_submodule("norm")
    x = torch.randn(2, 4, 3, 2)
    for y, z in ((0, 0), (2, 1)):
        torch.testing.assert_close(module(x)[:, :, y, z], F.layer_norm(x[:, :, y, z], (4,)))
