"""Hops along graphs, against networkx."""

from __future__ import annotations

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictors._relations import FAR, RELATIONS, graphs, hops, relations
from tests.predictors.spaces import ENCODINGS, encoding, rows


def random_graphs(seed: int, n: int, t: int, share: float) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Directed graphs, some with cycles: [n, t, t]."""
    return np.random.default_rng(seed).random((n, t, t)) < share


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.floats(0, 0.5))
def test_hops_are_shortest_paths(seed: int, t: int, share: float) -> None:
    edges = random_graphs(seed, 3, t, share)
    for found, adjacency in zip(hops(edges), edges, strict=True):
        naive = np.full((t, t), -1)
        graph = networkx.from_numpy_array(adjacency, create_using=networkx.DiGraph)
        for start, lengths in networkx.all_pairs_shortest_path_length(graph):
            for end, length in lengths.items():
                naive[start, end] = min(length, FAR)
        np.testing.assert_array_equal(found, naive)


@pytest.mark.parametrize("t", [1, 2, 5, 23])
def test_a_chain_is_within_reach_from_end_to_end(t: int) -> None:
    places = np.arange(t)
    gaps = places - places[:, None]
    np.testing.assert_array_equal(
        hops(np.eye(t, k=1, dtype=bool)[None])[0], np.where(gaps >= 0, np.minimum(gaps, FAR), -1)
    )


def test_relations_tell_there_from_back_from_neither() -> None:
    edges = np.zeros((1, 4, 4), dtype=bool)
    edges[0, 0, 1] = edges[0, 1, 2] = True
    found = relations(edges)[0]
    assert found[0, 1] == 1 and found[0, 2] == 2 and found[0, 3] == found[3, 0] == 0
    assert found[1, 0] == FAR + 2 and found[2, 0] == FAR + 3
    assert (found.diagonal() == FAR + 1).all() and found.max() < RELATIONS


@pytest.mark.parametrize("name", ENCODINGS)
def test_different_graphs_are_found_and_each_row_is_given_its_own(name: str) -> None:
    edges = encoding(name).edges(rows(encoding(name), 200))
    found, number = graphs(edges)
    np.testing.assert_array_equal(found[number], edges)
    assert len(found) == len({graph.tobytes() for graph in np.ascontiguousarray(edges)})


@pytest.mark.parametrize("name", ENCODINGS)
def test_graphs_of_encodings_have_no_cycles(name: str) -> None:
    for adjacency in graphs(encoding(name).edges(rows(encoding(name), 20)))[0]:
        assert networkx.is_directed_acyclic_graph(networkx.from_numpy_array(adjacency, create_using=networkx.DiGraph))
