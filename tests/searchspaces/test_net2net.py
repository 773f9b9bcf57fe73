"""Larger networks compute what smaller ones do, wherever it can hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from searchspaces.architecture import Architecture
from searchspaces.net2net import Copies, NotPreservedError, compared, transformed
from searchspaces.networks._role import Network, Signature
from searchspaces.parse import parse
from searchspaces.space import SearchSpace


def space(network: dict[str, Any]) -> SearchSpace:
    return SearchSpace.of(parse(Network, network, open=True), Signature((3, 8, 8), 4))


def ends(network: dict[str, Any]) -> tuple[Architecture, Architecture]:
    """The architectures of all first and of all last options."""
    found = space(network)
    return found.decode(0 * found.sizes), found.decode(found.sizes - 1)


def trained(architecture: Architecture) -> nn.Sequential:
    """A network whose statistics are not those of a new one."""
    torch.manual_seed(0)
    network = architecture.build()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2.0)  # type: ignore[union-attr]
            nn.init.normal_(module.weight, 1.0, 0.2)
            nn.init.normal_(module.bias)
    return network


def metaformer(mixer: Any, ratio: Any = 2.0, depth: Any = 1, width: Any = 8, norm: str = "batch") -> dict[str, Any]:
    block = {"mixer": mixer, "channel_mixer": {"kind": "mlp", "ratio": ratio}, "norm": norm}
    stages = [{"depth": depth, "width": width, "block": block}, {"depth": 1, "width": 8, "block": block}]
    return {"kind": "metaformer", "stem": {"patch": 1, "width": 6}, "stages": stages}


def mobile(expansion: Any, kernel: Any = 3, width: Any = 8, gate: str = "none") -> dict[str, Any]:
    block = {"kind": "inverted_bottleneck", "expansion": expansion, "kernel": kernel, "gate": {"kind": gate}}
    first = {"kind": "convolution", "width": width, "activation": "relu"}
    blocks = [first, {**block, "width": width}, {**block, "width": 12, "stride": 2}]
    return {"kind": "chain", "blocks": [*blocks, {"kind": "pooled_classifier", "classes": 4}]}


DEPTHWISE, ATTENTION = {"kind": "depthwise", "kernel": 3}, {"kind": "attention", "heads": 2}
GROWING = {
    "mlp ratio": metaformer(DEPTHWISE, ratio={"choice": [1.5, 3.25]}),
    "depth behind depthwise": metaformer(DEPTHWISE, depth={"choice": [1, 3]}),
    "depth behind attention": metaformer(ATTENTION, depth={"choice": [1, 3]}),
    "depth behind pooling": metaformer({"kind": "pooling"}, depth={"choice": [1, 3]}),
    "kernel": metaformer({"kind": "depthwise", "kernel": {"choice": [3, 7]}}),
    "stage width": metaformer(DEPTHWISE, width={"choice": [8, 13]}),
    "everything": metaformer(
        {"kind": "depthwise", "kernel": {"choice": [3, 5]}},
        {"choice": [2.0, 3.0]},
        {"choice": [1, 2]},
        {"choice": [8, 12]},
    ),
    "doubled width under layer normalization": metaformer(DEPTHWISE, width={"choice": [8, 16]}, norm="layer"),
    "width around attention": metaformer(ATTENTION, width={"choice": [8, 12]}),
    "twice the heads": metaformer({"kind": "attention", "heads": {"choice": [2, 4]}}),
    "expansion": mobile({"choice": [2.0, 3.5]}),
    "expansion and kernel": mobile({"choice": [2.0, 3.5]}, {"choice": [3, 5]}),
    "width": mobile(2.0, width={"choice": [8, 11]}),
}
REFUSED = {
    "width under layer normalization": metaformer(DEPTHWISE, width={"choice": [8, 12]}, norm="layer"),
    "heads beside those there are": metaformer({"kind": "attention", "heads": {"choice": [2, 3]}}),
    "wider heads": metaformer({"kind": "attention", "heads": 2, "head_width": {"choice": [8, 12]}}),
}


@pytest.mark.parametrize("name", GROWING)
def test_a_larger_network_computes_the_same(name: str) -> None:
    small, large = ends(GROWING[name])
    before = trained(small)
    after = transformed(before, small, large, seed=1)
    assert sum(p.numel() for p in after.parameters()) > sum(p.numel() for p in before.parameters())
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        mine, theirs = before.eval()(x), after.eval()(x)
    torch.testing.assert_close(theirs, mine, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", GROWING)
def test_what_is_new_can_be_trained(name: str) -> None:
    small, large = ends(GROWING[name])
    after = transformed(trained(small), small, large).train()
    optimizer = torch.optim.SGD(after.parameters(), lr=0.05)
    x, y = torch.randn(8, 3, 8, 8), torch.arange(8) % 4
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        losses.append(nn.functional.cross_entropy(after(x), y))
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", REFUSED)
def test_where_it_cannot_hold_it_is_refused(name: str) -> None:
    small, large = ends(REFUSED[name])
    with pytest.raises(NotPreservedError, match="outputs differ"):
        transformed(trained(small), small, large)


@pytest.mark.parametrize(("activation", "holds"), [("relu", True), ("none", True), ("hardswish", False)])
def test_a_convolution_is_inserted_where_its_activation_repeats_without_effect(activation: str, holds: bool) -> None:
    block = {"kind": "convolution", "width": 6, "activation": activation}
    head = {"kind": "pooled_classifier", "classes": 4}
    small, large = (
        Architecture((3, 8, 8), space({"kind": "chain", "blocks": blocks}).layers)
        for blocks in ([block, head], [block, block, head])
    )
    moved = Architecture(small.input_shape, ((small.layers[0],), small.layers[1]))
    deeper = Architecture(large.input_shape, (large.layers[:2], large.layers[2]))
    if holds:
        before = trained(moved)
        assert compared(before, transformed(before, moved, deeper), (3, 8, 8), 5) < 1e-5
    else:
        with pytest.raises(NotPreservedError):
            transformed(trained(moved), moved, deeper)


def test_nothing_shrinks() -> None:
    small, large = ends(GROWING["expansion"])
    with pytest.raises(NotPreservedError, match="would shrink"):
        transformed(trained(large), large, small)


def test_every_channel_is_copied_about_equally_often() -> None:
    copies = Copies(np.random.default_rng(0))
    counts = torch.bincount(copies(5, 13))
    assert counts.tolist().count(3) == 3 and counts.tolist().count(2) == 2
    assert copies(5, 13) is copies(5, 13)
