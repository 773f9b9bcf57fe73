from __future__ import annotations

import numpy as np

from nas.strategies.nsga2 import Nsga2, rank, tournament
from nas.strategies.random import Random
from tests.nas.tabulated import problem, search

REFERENCE = [1.3, 25.0]


def test_better_than_random_in_at_least_eight_of_ten_seeds() -> None:
    wins = 0
    for seed in range(10):
        evolved = search(Nsga2(evaluations=200), problem(), seed, 200).hypervolumes(problem(), REFERENCE)[-1]
        drawn = search(Random(evaluations=200), problem(), seed, 200).hypervolumes(problem(), REFERENCE)[-1]
        wins += bool(evolved > drawn)
    assert wins >= 8


def test_better_than_random_under_a_bound() -> None:
    bounded = problem(latency_ms=8.0)
    evolved = [search(Nsga2(evaluations=150), bounded, s, 150).hypervolumes(bounded, REFERENCE)[-1] for s in range(5)]
    drawn = [search(Random(evaluations=150), bounded, s, 150).hypervolumes(bounded, REFERENCE)[-1] for s in range(5)]
    assert np.mean(evolved) > np.mean(drawn)


def test_generations_approach_the_front() -> None:
    archive = search(Nsga2(evaluations=200), problem(), 0, 200)
    errors = archive.values(["error"])[:, 0] + archive.values(["latency_ms"])[:, 0] / 24
    assert errors[-40:].mean() < errors[:20].mean() - 0.1


def test_the_feasible_are_ranked_first_and_crowding_is_within_a_rank() -> None:
    values = np.array([[0.0, 0.0], [1.0, 5.0], [2.0, 3.0], [5.0, 1.0], [9.0, 9.0]])
    ranks, crowding = rank(values, np.array([1.0, 0.0, 0.0, 0.0, 0.0]))
    assert ranks.tolist() == [2, 0, 0, 0, 1]
    assert crowding[[1, 3]].tolist() == [np.inf, np.inf]
    assert crowding[2] == 2.0


def test_the_tournament_prefers_rank_then_room() -> None:
    rng = np.random.default_rng(0)
    counts = np.bincount(tournament((np.array([0, 0, 1]), np.array([1.0, 2.0, 9.0])), 9000, rng), minlength=3) / 9000
    np.testing.assert_allclose(counts, [3 / 9, 5 / 9, 1 / 9], atol=0.02)


def test_a_generation_is_the_same_whatever_of_it_is_archived() -> None:
    strategy = Nsga2(evaluations=80, population=10)
    whole = search(strategy, problem(), 4, 80)
    part = search(strategy, problem(), 4, 33)
    assert search(strategy, problem(), 4, 80, part).trials() == whole.trials()
