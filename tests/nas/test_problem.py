from __future__ import annotations

import math

import numpy as np
import pytest

from nas.problem import InfeasibleError, Problem
from tests.nas.tabulated import FakeSpace, costs, problem


def test_maximized_objectives_change_their_sign() -> None:
    mixed = Problem(FakeSpace((2,)), {"error": "minimize", "speed": "maximize"})
    assert mixed.minimized({"speed": 4.0, "error": 0.1, "other": 9.0}).tolist() == [0.1, -4.0]
    several = mixed.minimized({"error": np.array([0.1, 0.2]), "speed": np.array([1.0, 2.0])})
    assert several.tolist() == [[0.1, -1.0], [0.2, -2.0]]


def test_violation_is_the_sum_of_relative_excesses() -> None:
    bounded = Problem(FakeSpace((2,)), {"speed": "maximize"}, {"speed": 10.0, "latency_ms": 4.0, "zero": 0.0})
    assert bounded.violation({"speed": 10.0, "latency_ms": 4.0, "zero": -1.0}) == 0
    assert bounded.violation({"speed": 5.0, "latency_ms": 5.0, "zero": 2.0}) == 0.5 + 0.25 + 2.0
    assert bounded.violation({"speed": math.nan, "latency_ms": 1.0, "zero": 0.0}) == math.inf


def test_a_missing_bounded_value_is_an_error() -> None:
    with pytest.raises(KeyError):
        problem(latency_ms=3.0).violation({"error": 0.1})


def test_bounds_on_quality_do_not_make_candidates_infeasible() -> None:
    bounded = problem(error=0.01, latency_ms=4.0)
    rows = bounded.space.sample(np.random.default_rng(0), 500)
    assert bounded.feasible(rows).tolist() == (rows.sum(axis=1) <= 4).tolist()


def test_the_feasible_are_drawn_uniformly() -> None:
    bounded = problem((4, 3, 3), conditional=True, latency_ms=2.0)
    rows = bounded.sample_feasible(np.random.default_rng(0), 6000)
    feasible = bounded.space.rows[costs(bounded.space.rows)["latency_ms"] <= 2]  # type: ignore[attr-defined]
    counts = [int((rows == row).all(axis=1).sum()) for row in feasible]
    expected = len(rows) / len(feasible)
    assert len(rows) == 6000
    assert sum(counts) == 6000
    chi_squared = sum((count - expected) ** 2 / expected for count in counts)
    assert chi_squared < len(feasible) + 5 * math.sqrt(2 * len(feasible))


class LargeSpace(FakeSpace):
    """As large as one likes, for nothing is enumerated."""

    @property
    def count(self) -> int:
        return math.prod(self.sizes)

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.integers(0, self.sizes, size=(n, len(self.sizes)))


def test_descent_finds_what_random_draws_do_not() -> None:
    rare = Problem(LargeSpace((6,) * 20, False), {"latency_ms": "minimize"}, {"latency_ms": 2.0}, costs)
    rows = rare.sample_feasible(np.random.default_rng(0), 15)
    assert len(rows) == 15
    assert len(np.unique(rows, axis=0)) == 15
    assert (rows.sum(axis=1) <= 2).all()


def test_fewer_come_where_no_more_exist() -> None:
    rows = problem(latency_ms=1.0).sample_feasible(np.random.default_rng(0), 50)
    assert 1 <= len(rows) <= 9
    assert len(np.unique(rows, axis=0)) == len(rows)


def test_the_error_names_the_bound_and_the_best_seen() -> None:
    def slow(matrix: np.ndarray) -> dict[str, np.ndarray]:
        return {"latency_ms": 0.13 + matrix.sum(axis=1), "macs": costs(matrix)["macs"]}

    unreachable = Problem(FakeSpace((3, 3)), {"error": "minimize"}, {"latency_ms": 0.01, "macs": 5.0}, slow)
    with pytest.raises(InfeasibleError) as caught:
        unreachable.sample_feasible(np.random.default_rng(0), 4)
    assert str(caught.value) == "latency_ms <= 0.01 cannot be met: the best of 20,000 candidates is 0.13 ms"


def test_a_lower_bound_out_of_reach_is_named_as_such() -> None:
    greedy = Problem(FakeSpace((3, 3), False), {"macs": "maximize"}, {"macs": 100.0}, costs)
    with pytest.raises(InfeasibleError, match=r"macs >= 100 cannot be met: the best of 20,000 candidates is 8$"):
        greedy.sample_feasible(np.random.default_rng(0), 4)


def test_bounds_that_exclude_each_other_are_named_together() -> None:
    torn = Problem(FakeSpace((3, 3), False), {"macs": "maximize"}, {"macs": 8.0, "latency_ms": 1.0}, costs)
    with pytest.raises(InfeasibleError, match=r"macs >= 8 and latency_ms <= 1 cannot be met together: the nearest of"):
        torn.sample_feasible(np.random.default_rng(0), 4)


@pytest.mark.parametrize("objectives", [{}, {"error": "lower"}])
def test_objectives_without_a_direction_are_refused(objectives: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="minimize or maximize"):
        Problem(FakeSpace((2,)), objectives)  # type: ignore[arg-type]


def test_bounds_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        problem(latency_ms=math.nan)
