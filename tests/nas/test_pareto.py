from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nas.pareto import crowding_distance, crowding_distances, front_mask, hypervolume, non_dominated_sort

SMALL = st.sampled_from([-math.inf, -1.0, 0.0, 0.5, 1.0, 2.0, math.inf])
VALUES = st.integers(1, 4).flatmap(
    lambda m: st.integers(0, 12).flatmap(lambda n: arrays(float, (n, m), elements=SMALL))
)


def dominates(a: np.ndarray, b: np.ndarray, excess_a: float, excess_b: float) -> bool:
    """Definition 1 of Deb et al. (2002), section VI."""
    if excess_a > 0 or excess_b > 0:
        return excess_a < excess_b
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


def naive_ranks(values: np.ndarray, excess: np.ndarray) -> list[int]:
    ranks, left, rank = [-1] * len(values), set(range(len(values))), 0
    while left:
        front = {i for i in left if not any(dominates(values[j], values[i], excess[j], excess[i]) for j in left)}
        for index in front:
            ranks[index] = rank
        left, rank = left - front, rank + 1
    return ranks


def naive_crowding(values: np.ndarray) -> list[float]:
    n = len(values)
    distances = [math.inf if n <= 2 else 0.0] * n
    for column in values.T if n > 2 else []:
        finite = [x for x in column if math.isfinite(x)]
        low, high = (min(finite), max(finite)) if finite else (-1.0, 1.0)
        column = [min(max(x, low), high) for x in column]
        order = sorted(range(n), key=lambda i: (column[i], i))
        if (spread := column[order[-1]] - column[order[0]]) > 0:
            distances[order[0]] = distances[order[-1]] = math.inf
            for before, index, after in zip(order, order[1:], order[2:], strict=False):
                distances[index] += (column[after] - column[before]) / spread
    return distances


def naive_volume(values: np.ndarray, reference: np.ndarray) -> float:
    """Inclusion and exclusion over all subsets: the box below two points is the box below their maximum."""
    inside = [point for point in values if (point < reference).all()]
    total = 0.0
    for size in range(1, len(inside) + 1):
        for subset in itertools.combinations(inside, size):
            total -= (-1) ** size * float(np.prod(reference - np.max(subset, axis=0)))
    return total


@given(VALUES, st.data())
def test_ranks_equal_pairwise_constraint_domination(values: np.ndarray, data: st.DataObject) -> None:
    excess = data.draw(arrays(float, len(values), elements=st.sampled_from([0.0, 0.0, 0.5, 1.0, math.inf])))
    assert non_dominated_sort(values, excess).tolist() == naive_ranks(values, excess)


@given(VALUES)
def test_the_front_is_rank_zero(values: np.ndarray) -> None:
    assert front_mask(values).tolist() == (non_dominated_sort(values) == 0).tolist()


@given(VALUES)
def test_crowding_equals_its_loop(values: np.ndarray) -> None:
    np.testing.assert_allclose(crowding_distance(values), naive_crowding(values), rtol=1e-12)


def test_a_constant_objective_separates_nothing() -> None:
    values = np.array([[0.0, 7.0], [1.0, 7.0], [4.0, 7.0]])
    assert crowding_distance(values).tolist() == [math.inf, 1.0, math.inf]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5).flatmap(lambda m: arrays(float, (7, m), elements=st.integers(0, 4).map(float))))
def test_hypervolume_equals_inclusion_and_exclusion(values: np.ndarray) -> None:
    reference = np.full(values.shape[1], 3.5)
    assert hypervolume(values, reference) == pytest.approx(naive_volume(values, reference), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("objectives", [2, 3, 4])
def test_hypervolume_lies_within_the_error_of_counting_random_points(objectives: int) -> None:
    rng = np.random.default_rng(objectives)
    values = rng.random((40, objectives))
    points = rng.random((20_000, objectives))
    share = np.mean([(values <= point).all(axis=1).any() for point in points])
    error = math.sqrt(share * (1 - share) / len(points))
    assert abs(hypervolume(values, np.ones(objectives)) - share) < 4 * error


@given(arrays(float, (9, 3), elements=st.floats(0, 1)), st.permutations(range(9)))
def test_hypervolume_knows_no_order_and_no_duplicates(values: np.ndarray, order: list[int]) -> None:
    expected = hypervolume(values, [1, 1, 1])
    assert hypervolume(np.concatenate([values[order], values]), [1, 1, 1]) == pytest.approx(expected, rel=1e-12)


def test_hypervolume_of_infinities() -> None:
    assert hypervolume([[math.inf, 0.0]], [1, 1]) == 0.0
    assert hypervolume([[-math.inf, 0.0], [0.5, 0.5]], [1, 1]) == math.inf
    assert hypervolume(np.zeros((0, 2)), [1, 1]) == 0.0


@pytest.mark.parametrize("reference", [[1.0, math.inf], [1.0, math.nan], 1.0, [1.0, 1.0, 1.0]])
def test_a_reference_that_fits_nothing_is_refused(reference: object) -> None:
    with pytest.raises(ValueError, match="reference"):
        hypervolume([[0.0, 0.0]], reference)  # type: ignore[arg-type]


def test_values_that_are_no_numbers_are_refused() -> None:
    for function in (front_mask, non_dominated_sort, crowding_distance):
        with pytest.raises(ValueError, match="NaN"):
            function([[0.0, math.nan]])
    with pytest.raises(ValueError, match="violations"):
        non_dominated_sort([[0.0, 1.0]], [math.nan])
    with pytest.raises(ValueError, match="shape"):
        front_mask([1.0, 2.0])


@pytest.mark.parametrize("infinite", [False, True])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 60])
def test_crowding_within_ranks_is_that_of_each_rank_alone(n: int, infinite: bool) -> None:
    rng = np.random.default_rng(n)
    values = rng.integers(0, 6, size=(n, 3)).astype(float)
    values[:, 2] = 1.0
    if infinite:
        values[::7, 1] = math.inf
    ranks = rng.integers(0, 5, size=n)
    found = crowding_distances(values, ranks)
    for rank in range(5):
        np.testing.assert_allclose(found[ranks == rank], crowding_distance(values[ranks == rank]), rtol=1e-12)
