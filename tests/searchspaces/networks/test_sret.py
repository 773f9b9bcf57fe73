"""SReT in its published sizes, and the recursions and groups that a space leaves open."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from searchspaces.architecture import Architecture
from searchspaces.blocks.recursive_transformer import RecursiveTransformer
from searchspaces.cost import architecture_cost
from searchspaces.networks._role import Signature
from searchspaces.space import SearchSpace
from tests.searchspaces.spaces import choice, space

STEM = [{"kind": "convolution", "width": 8, "activation": "relu"}]


def published(base: int, heads: list[int], ratio: float, projection: float, groups: list[list[int]]) -> Architecture:
    """A network of the paper, for 224 pixels."""
    widths = [base * count for count in heads]
    stem = [
        {"kind": "convolution", "width": width, "stride": 2, "activation": "relu"}
        for width in (widths[0] // 2, widths[0], widths[0])
    ]
    stages = []
    for depth, count, width, slices in zip((2, 5, 3), heads, widths, groups, strict=True):
        block = {"groups": slices, "heads": count, "head_width": base, "ratio": ratio, "projection": projection}
        stages.append({"depth": depth, "block": block, **({"width": width} if stages else {})})
    found = space({"kind": "sret", "stem": stem, "stages": stages}, Signature((3, 224, 224), 1000))
    return found.decode(np.zeros(0, dtype=np.int64))


@pytest.mark.parametrize(
    ("base", "heads", "ratio", "projection", "millions", "giga_macs", "without_slices"),
    [
        (32, [2, 4, 8], 3.6, 1.0, 4.8, 1.1, 1.4),
        (32, [2, 4, 8], 4.0, 1.0, 5.0, 1.2, 1.4),
        (42, [3, 6, 12], 3.0, 2.0, 20.9, 4.2, 4.7),
    ],
    ids=["T", "LT", "S"],
)
def test_published_networks_have_their_published_parameters_and_work(
    base: int,
    heads: list[int],
    ratio: float,
    projection: float,
    millions: float,
    giga_macs: float,
    without_slices: float,
) -> None:
    sliced, whole = (
        architecture_cost(published(base, heads, ratio, projection, groups))
        for groups in ([[8, 2], [4, 1], [1, 1]], [[1], [1], [1]])
    )
    assert round(sliced.parameters / 1e6, 1) == round(whole.parameters / 1e6, 1) == millions
    assert round(sliced.macs / 1e9, 1) == giga_macs and round(whole.macs / 1e9, 1) == without_slices


def blocks(found: SearchSpace, row: Any) -> list[tuple[int, ...]]:
    """The groups of each block of an architecture."""
    parts = [placement.part for placement in found.decode(np.array(row)).blocks()]
    return [part.groups for part in parts if isinstance(part, RecursiveTransformer)]


def every(block: dict[str, Any], depth: Any = 1) -> list[list[tuple[int, ...]]]:
    """The groups of each block, for all architectures of a space."""
    stage = {"depth": depth, "block": {"head_width": 2, **block}}
    found = space({"kind": "sret", "stem": STEM, "stages": [stage]})
    rows = found.canonical(np.stack(np.meshgrid(*map(np.arange, found.sizes)), -1).reshape(-1, len(found.sizes)))
    architectures = {found.decode(row): blocks(found, row) for row in rows}
    assert len(architectures) == found.count
    assert all(np.array_equal(found.encode(found.decode(row)), row) for row in rows)
    return sorted(architectures.values())


def test_the_last_groups_hold_for_all_further_recursions() -> None:
    assert every({"recursions": choice(1, 2, 4), "groups": [4, 2]}) == [[(4,)], [(4, 2)], [(4, 2, 2, 2)]]


def test_groups_beyond_the_recursions_are_no_decisions() -> None:
    found = every({"recursions": choice(1, 2), "groups": [choice(1, 4), choice(1, 2)]})
    assert found == [[(1,)], [(1, 1)], [(1, 2)], [(4,)], [(4, 1)], [(4, 2)]]


def test_groups_may_be_chosen_together() -> None:
    assert every({"groups": choice([8, 2], [4, 1])}) == [[(4, 1)], [(8, 2)]]
    both = every({"recursions": choice(1, 2), "groups": choice([8, 2], [4, 1])})
    assert both == [[(4,)], [(4, 1)], [(8,)], [(8, 2)]]


def test_each_block_chooses_its_own_recursions() -> None:
    assert len(every({"recursions": choice(1, 2)}, depth=choice(1, 2))) == 2 + 2 * 2


def test_options_that_become_equal_are_refused() -> None:
    with pytest.raises(ValueError, match=r"groups: options .* for 1 recursions"):
        every({"recursions": choice(1, 2), "groups": choice([8, 2], [8, 1])})
