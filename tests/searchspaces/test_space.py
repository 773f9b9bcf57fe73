"""The laws of a search space, on both families and on random descriptions."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchspaces.architecture import Architecture
from searchspaces.placements import Placements
from searchspaces.space import SearchSpace
from tests.searchspaces.spaces import FAMILIES, choice, space

SPACES = {name: space(description) for name, description in FAMILIES.items()}
seeds = st.integers(0, 2**32 - 1)
families = st.sampled_from(sorted(SPACES))


def rows(found: SearchSpace, seed: int, n: int = 20) -> np.ndarray:
    return found.sample(np.random.default_rng(seed), n)


def small() -> SearchSpace:
    """A space small enough to list: conditional, elastic and tied decisions at once."""
    mixer = choice({"kind": "depthwise", "kernel": choice(3, 5, 7)}, {"kind": "pooling"})
    block = {"mixer": mixer, "channel_mixer": {"kind": "mlp", "ratio": choice(1.0, 2.0)}}
    tied = {"depth": choice(1, 2), "shared": True, "block": block}
    free = {"depth": choice(0, 1, 2), "width": choice(4, 6), "block": block}
    return space({"kind": "metaformer", "stem": {"patch": 2, "width": 4}, "stages": [tied, free]})


@given(families, seeds)
def test_decode_then_encode_is_the_canonical_row(family: str, seed: int) -> None:
    found = SPACES[family]
    for row in rows(found, seed):
        architecture = found.decode(row)
        assert np.array_equal(found.encode(architecture), row)
        assert found.decode(found.encode(architecture)) == architecture


@given(families, seeds)
def test_inactive_decisions_never_matter(family: str, seed: int) -> None:
    found, rng = SPACES[family], np.random.default_rng(seed)
    matrix = rows(found, seed)
    noise = np.where(found.active(matrix), matrix, rng.integers(0, found.sizes, size=matrix.shape))
    assert np.array_equal(found.canonical(noise), matrix)
    assert all(found.decode(a) == found.decode(b) for a, b in zip(matrix, noise, strict=True))


@given(families, seeds, st.floats(0, 1))
def test_mutation_changes_an_active_decision_and_stays_inside(family: str, seed: int, rate: float) -> None:
    found, matrix = SPACES[family], rows(SPACES[family], seed)
    children = found.mutate(matrix, np.random.default_rng(seed), rate)
    changed = (children != matrix) & found.active(matrix)
    assert changed.any(axis=1).all()
    assert np.array_equal(found.canonical(children), children)
    assert (children >= 0).all() and (children < found.sizes).all()


def test_mutation_at_rate_zero_changes_one_decision_and_what_hangs_on_it() -> None:
    found = SPACES["metaformer"]
    matrix = rows(found, 0, 500)
    children = found.mutate(matrix, np.random.default_rng(0), 0.0)
    both = found.active(matrix) & found.active(children)
    assert ((children != matrix) & both).sum(axis=1).max() == 1


@given(families, seeds)
def test_crossover_takes_what_parents_agree_on_and_invents_only_what_neither_has(family: str, seed: int) -> None:
    found = SPACES[family]
    first, second = rows(found, seed), rows(found, seed + 1)
    children = found.crossover(first, second, np.random.default_rng(seed))
    active = [found.active(matrix) for matrix in (first, second, children)]
    known = active[2] & (active[0] | active[1])
    from_first, from_second = active[0] & (children == first), active[1] & (children == second)
    assert (from_first | from_second)[known].all()
    assert np.array_equal(found.canonical(children), children)


@given(families, seeds)
def test_architectures_survive_their_description(family: str, seed: int) -> None:
    architecture = SPACES[family].decode(rows(SPACES[family], seed, 1)[0])
    again = Architecture.parse(architecture.describe())
    assert again == architecture and again.id == architecture.id and hash(again) == hash(architecture)


def test_count_is_the_number_of_distinct_architectures() -> None:
    found = small()
    listed = {
        found.decode(row)
        for row in itertools.product(*(range(size) for size in found.sizes))
        for row in [np.array(row)]
    }
    assert len(listed) == found.count == 2 * 8 * 2 * (1 + 8 + 64)


def test_sampling_is_uniform_over_architectures() -> None:
    found = small()
    draws = 40 * found.count
    _, counts = np.unique(found.sample(np.random.default_rng(0), draws), axis=0, return_counts=True)
    assert len(counts) == found.count
    statistic = ((counts - 40) ** 2 / 40).sum()
    freedom = found.count - 1
    assert abs(statistic - freedom) < 4 * np.sqrt(2 * freedom)


def test_uniform_sampling_over_options_would_not_be_uniform() -> None:
    found = small()
    depth = next(n for n, decision in enumerate(found.decisions) if decision.name == "space.stages.1.depth")
    share = (found.sample(np.random.default_rng(0), 20_000)[:, depth] == 0).mean()
    assert abs(share - 1 / 73) < 0.005


def test_rules_across_fields_leave_only_valid_forms() -> None:
    found = space(
        {
            "kind": "chain",
            "blocks": [{"kind": "tests.searchspaces.parts:Even", "a": choice(1, 2, 3), "b": choice(1, 2)}],
        }
    )
    forms = {
        (block.a, block.b) for architecture in map(found.decode, rows(found, 0, 200)) for block in architecture.layers
    }
    assert found.count == 3 and forms == {(1, 1), (2, 2), (3, 1)}


def test_shared_stages_repeat_one_block_and_others_do_not() -> None:
    found = SPACES["metaformer"]
    free, tied = set(), set()
    for row in rows(found, 0, 200):
        _, (_, first), (_, second), _ = found.decode(row).layers
        free.add(len(set(first)) == 1 or len(first) == 1)
        tied.add(len(set(second)) <= 1)
    assert tied == {True} and False in free


@pytest.mark.parametrize("family", SPACES)
def test_placements_agree_with_the_decoded_architectures(family: str) -> None:
    found = SPACES[family]
    placements = Placements(found)
    matrix = rows(found, 0, 300)
    for row, units in zip(matrix, placements.of(matrix), strict=True):
        expected = [(p.path, p.part, p.shape) for p in found.decode(row).blocks()]
        slots = [(slot, unit) for slot, unit in zip(placements.slots, units, strict=True) if unit >= 0]
        assert [(s.path, placements.units[u].part, placements.units[u].shape) for s, u in slots] == expected


def test_placements_list_exactly_what_occurs() -> None:
    found = small()
    placements = Placements(found)
    every = [found.decode(np.array(row)) for row in itertools.product(*(range(size) for size in found.sizes))]
    occurring = {(p.path, p.part, p.shape) for architecture in every for p in architecture.blocks()}
    assert {(p.path, p.part, p.shape) for p in placements.placements()} == occurring


def test_an_architecture_of_another_space_is_refused() -> None:
    architecture = SPACES["mobilenet"].decode(rows(SPACES["mobilenet"], 0, 1)[0])
    with pytest.raises(ValueError, match="not in this search space"):
        SPACES["metaformer"].encode(architecture)


def test_a_decided_description_is_a_space_of_one() -> None:
    decided: dict[str, Any] = {"kind": "chain", "blocks": [{"kind": "classifier", "classes": 5}]}
    found = space(decided)
    assert found.count == 1 and found.sample(np.random.default_rng(0), 3).shape == (3, 0)


def test_decision_names_say_where_they_stand() -> None:
    names = [decision.name for decision in SPACES["metaformer"].decisions]
    assert names[:3] == ["space.stem.patch", "space.stages.0.width", "space.stages.0.depth"]
    assert "space.stages.0.block.mixer.0.kernel[2]" in names and "space.stages.1.block.channel_mixer.ratio" in names
    assert len(names) == len(set(names))
