"""Which of the front is exported, and how it is tabulated."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nas.finalize import spread, write_front
from nas.twins import integer_twin
from searchspaces.cost import architecture_cost
from searchspaces.quantization.integer import Integer
from tests.searchspaces.spaces import FAMILIES, space

points = arrays(np.float64, st.tuples(st.integers(1, 12), st.integers(1, 3)), elements=st.integers(0, 9).map(float))


@given(points, st.integers(1, 14))
def test_spread_chooses_distinct_points_in_order(values: np.ndarray, most: int) -> None:
    chosen = spread(values, most)
    assert len(chosen) == len(set(chosen)) == min(most, len(values))
    last = [values[number][-1] for number in chosen]
    assert last == sorted(last)
    if most >= values.shape[1]:
        assert {values[chosen][:, axis].min() == values[:, axis].min() for axis in range(values.shape[1])} == {True}


def test_spread_prefers_what_is_far_away() -> None:
    line = np.array([[0.0], [0.1], [0.2], [5.0], [9.9], [10.0]])
    assert spread(np.hstack([10 - line, line]), 3) == [0, 3, 5]


def test_the_table_holds_plain_values_under_dotted_names(tmp_path: Path) -> None:
    entry = {"id": "a", "values": {"error": 0.1}, "latency_ms": 2.0, "architecture": {"layers": []}, "list": [1]}
    other = {"id": "b", "values": {"error": 0.2}, "latency_ms": 1.0, "more": 3, "architecture": {}, "list": (1, 2)}
    write_front(tmp_path, [entry, other])
    assert json.loads((tmp_path / "front.json").read_text())[0] == entry
    rows = list(csv.DictReader((tmp_path / "front.csv").open()))
    assert rows[0] == {"id": "a", "values.error": "0.1", "latency_ms": "2.0", "more": ""}
    assert rows[1]["more"] == "3" and "list" not in rows[1]


def test_the_int8_twin_is_the_same_network_in_eight_bits() -> None:
    found = space(FAMILIES["metaformer"])
    architecture = found.decode(found.sample(np.random.default_rng(0), 1)[0])
    twin = integer_twin(architecture)
    assert all(placement.part.quantization == Integer() for placement in twin.blocks())
    assert [p.shape for p in twin.blocks()] == [p.shape for p in architecture.blocks()]
    assert architecture_cost(twin) == architecture_cost(architecture)
