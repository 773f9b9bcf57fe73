"""The encoding of our own spaces, against each network by itself."""

from __future__ import annotations

import numpy as np
import pytest

from predictors.encodings.space import PHYSICS, SpaceEncoding
from searchspaces.cost import architecture_cost
from tests.predictors.spaces import encoding, placements
from tests.searchspaces.spaces import FAMILIES


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_physics_are_the_costs_of_each_network(family: str) -> None:
    found = SpaceEncoding(placements(family))
    matrix = found.placements.space.sample(np.random.default_rng(0), 8)
    for row, amounts in zip(matrix, found.physics(matrix), strict=True):
        cost = architecture_cost(found.placements.space.decode(row))
        assert amounts.tolist() == [getattr(cost, name) for name in PHYSICS]


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_tokens_and_edges_are_the_blocks_and_what_they_read(family: str) -> None:
    found = SpaceEncoding(placements(family))
    matrix = found.placements.space.sample(np.random.default_rng(1), 8)
    for row, tokens, edges in zip(matrix, found.tokens(matrix), found.edges(matrix), strict=True):
        trace = found.placements.space.decode(row).traced()
        used = np.flatnonzero(tokens >= 0)
        units = [found.placements.units[tokens[place]] for place in used]
        assert [(unit.part, unit.shape) for unit in units] == [(block.part, block.shape) for block in trace.placements]
        expected = {(used[source - 1], used[n]) for n, read in enumerate(trace.wires) for source in read if source}
        assert set(map(tuple, np.argwhere(edges).tolist())) == expected


def test_the_table_and_its_absence_are_told_by_the_signature() -> None:
    plain, profiled = encoding("space"), encoding("profiled")
    assert plain.contributions is None and profiled.contributions is not None
    assert plain.signature != profiled.signature
    assert plain.signature == SpaceEncoding(placements()).signature
    assert (
        profiled.features(np.zeros((1, len(plain.sizes)), dtype=np.int64)).shape[1]
        > plain.features(np.zeros((1, len(plain.sizes)), dtype=np.int64)).shape[1]
    )
