"""VoVNet in its published sizes, and what its fields do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from searchspaces.architecture import Architecture
from searchspaces.blocks.max_pooling import MaxPooling
from searchspaces.blocks.one_shot_aggregation import OneShotAggregation
from searchspaces.cost import architecture_cost
from searchspaces.networks._role import Signature
from tests.searchspaces.spaces import choice, space


def stem(*layers: tuple[int, int]) -> list[dict[str, Any]]:
    return [{"kind": "convolution", "width": width, "stride": stride, "activation": "relu"} for width, stride in layers]


def published(inner: list[int], width: list[int], depth: list[int]) -> Architecture:
    """A network of table 1."""
    stages = [
        {"depth": count, "width": outer, "block": {"inner": middle}}
        for middle, outer, count in zip(inner, width, depth, strict=True)
    ]
    description = {"kind": "vovnet", "stem": stem((64, 2), (64, 1), (128, 2)), "stages": stages}
    found = space(description, Signature((3, 224, 224), 1000))
    return found.decode(np.zeros(0, dtype=np.int64))


@pytest.mark.parametrize(("depth", "millions"), [([1, 1, 2, 2], 22.6), ([1, 1, 4, 3], 36.6)], ids=["39", "57"])
def test_published_networks_have_their_published_parameters(depth: list[int], millions: float) -> None:
    network = published([128, 160, 192, 224], [256, 512, 768, 1024], depth)
    normalization = 2 * 1024  # our classifier's own
    assert round((architecture_cost(network).parameters - normalization) / 1e6, 1) == millions


def test_pooling_stands_between_stages_and_the_first_module_of_each_has_no_residual_connection() -> None:
    stages = [{"depth": 2, "width": 6, "block": {"inner": 4}}, {"depth": choice(1, 3), "width": 6, "stride": 3}]
    found = space({"kind": "vovnet", "stem": stem((4, 1)), "stages": stages})
    parts = [placement.part for placement in found.decode(np.array([1])).blocks()][1:-1]
    assert [part.kind() for part in parts] == ["one_shot_aggregation"] * 2 + ["max_pooling"] + [
        "one_shot_aggregation"
    ] * 3
    assert isinstance(parts[2], MaxPooling) and parts[2].stride == 3
    modules = [part for part in parts if isinstance(part, OneShotAggregation)]
    assert [part.residual for part in modules] == [False, True, False, True, True]
    assert [part.inner for part in modules] == [4, 4, 64, 64, 64]


@pytest.mark.parametrize(("shared", "decisions"), [(True, 1 + 2), (False, 1 + 2 * 2)])
def test_decisions_of_a_stage_are_shared_where_asked(shared: bool, decisions: int) -> None:
    block = {"inner": choice(3, 4), "aggregation": choice("one_shot", "dense")}
    stage = {"depth": choice(1, 2), "width": 6, "block": block, "shared": shared}
    assert len(space({"kind": "vovnet", "stem": stem((4, 1)), "stages": [stage]}).decisions) == decisions
