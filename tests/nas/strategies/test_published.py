"""What the published methods promise beyond the conformance suite."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from nas import pareto
from nas.archive import Archive
from nas.problem import Problem
from nas.strategies._directions import directions
from nas.strategies._improvement import Improvement
from nas.strategies._outlook import Outlook
from nas.strategies.local_search import LocalSearch, neighbours
from nas.strategies.moead import Moead, from_ideal
from nas.strategies.nsga2 import Nsga2
from nas.strategies.nsga3 import associated, niching, normalized, selected
from nas.strategies.pareto_mutation import sparseness
from nas.strategies.predictor_guided import PredictorGuided
from nas.strategies.regularized_evolution import RegularizedEvolution
from predictors.gaussian_process import GaussianProcess
from tests.nas.tabulated import FakeSpace, judge, problem, search

REFERENCE = [1.3, 25.0]


def test_directions_are_on_the_simplex_and_as_many_as_fit() -> None:
    for m, most, n in ((2, 20, 20), (3, 20, 15), (3, 21, 21), (4, 3, 4), (1, 9, 1)):
        found = directions(m, most)
        assert found.shape == (n, m)
        np.testing.assert_allclose(found.sum(axis=1), 1)
        assert (found >= 0).all()
        assert len(np.unique(found, axis=0)) == n


VALUES = np.array([[0.0, 3.0], [1.0, 1.0], [3.0, 0.0], [2.9, 2.0]])
MEAN, STD = np.array([[0.6, 0.7], [2.0, 0.2], [2.5, 2.5]]), np.array([[0.3, 0.4], [0.5, 0.0], [0.1, 0.1]])


def gains(values: np.ndarray, mean: np.ndarray, std: np.ndarray, n: int) -> np.ndarray:
    """What each of the drawn outcomes [c, n, m] adds to the volume below the worst values: [c, n]."""
    drawn = mean[:, None] + std[:, None] * np.random.default_rng(0).standard_normal((len(mean), n, mean.shape[1]))
    reference = values.max(axis=0)
    before = pareto.hypervolume(values, reference)
    return np.array([[pareto.hypervolume(np.vstack([values, y]), reference) - before for y in ys] for ys in drawn])


@pytest.mark.parametrize("m", [1, 2, 3])
def test_the_expected_improvement_is_that_of_simulated_outcomes(m: int) -> None:
    columns = [0, 1, 0][:m] if m != 3 else [0, 1, 1]
    values, mean, std = VALUES[:, columns], MEAN[:, columns], STD[:, columns]
    front = values[pareto.front_mask(values)]
    found = Improvement(values, front, mean, std, np.array([1.0, 1.0, 1.0])).worth()
    simulated = gains(values, mean, std, 3000)
    error = 4 * simulated.std(axis=1) / np.sqrt(3000) + 1e-4
    assert (np.abs(found - simulated.mean(axis=1)) < error).all()
    halved = Improvement(values, front, mean, std, np.array([0.5, 1.0, 0.0])).worth()
    np.testing.assert_allclose(halved, found * [0.5, 1, 0])


def test_what_is_known_is_worth_what_it_adds() -> None:
    mean, std = np.array([[0.5, 0.5], [2.0, 0.2], [2.9, 2.9]]), np.zeros((3, 2))
    found = Improvement(VALUES, VALUES[:3], mean, std, np.ones(3)).worth()
    np.testing.assert_allclose(found, [2.25, 0.8, 0.0], atol=1e-9)
    nearly = Improvement(VALUES, VALUES[:3], mean, std + 1e-9, np.ones(3)).worth()
    np.testing.assert_allclose(nearly, found, atol=1e-6)


def test_rows_that_cannot_be_run_are_worth_nothing_and_equal_values_do_not_harm() -> None:
    mean = np.array([[np.inf, 0.1], [0.1, 0.1]])
    found = Improvement(VALUES, VALUES[:3], mean, np.full((2, 2), 0.1), np.ones(2)).worth()
    assert found[0] == 0 < found[1]
    same = Improvement(np.ones((3, 2)), np.ones((1, 2)), np.ones((2, 2)), np.zeros((2, 2)), np.ones(2))
    assert same.choose(5) == [0, 1]


def test_the_next_of_a_batch_is_chosen_with_those_before_it_in_view() -> None:
    mean = np.array([[0.5, 0.5], [0.52, 0.52], [2.0, 0.2], [2.9, 2.9]])
    improvement = Improvement(VALUES, VALUES[:3], mean, np.full((4, 2), 0.01), np.ones(4))
    alone = improvement.worth()
    assert np.argsort(-alone)[:2].tolist() == [0, 1]
    assert improvement.choose(1) == [0]
    beside = improvement.worth()
    assert beside[1] < 0.1 * alone[1]
    assert beside[2] > 3 * beside[1]
    before, after = pareto.hypervolume(VALUES, [3, 3]), pareto.hypervolume(np.vstack([VALUES, mean[[0, 2]]]), [3, 3])
    assert alone[0] + beside[2] == pytest.approx(after - before, rel=0.03)
    assert Improvement(VALUES, VALUES[:3], mean, np.full((4, 2), 0.01), np.ones(4)).choose(2) == [0, 2]


def test_known_costs_are_not_predicted_and_all_else_is() -> None:
    archive = search(Nsga2(evaluations=30), problem(), 0, 30)
    outlook = Outlook.of(problem(latency_ms=9.0), archive.trials(), GaussianProcess(), 0)
    assert outlook is not None
    assert set(outlook.models) == {"error"}
    rows = outlook.rows[:5]
    expected = outlook(rows)
    np.testing.assert_array_equal(expected.mean[:, 1], rows.sum(axis=1))
    assert (expected.std[:, 1] == 0).all()
    assert (expected.std[:, 0] > 0).all()


def test_a_bound_on_a_predicted_value_weighs_by_its_probability() -> None:
    bounded = Problem(FakeSpace((4,) * 8, False), {"error": "minimize"}, {"error": 0.6})
    trials = search(Nsga2(evaluations=60), problem(), 0, 60).trials()
    outlook = Outlook.of(bounded, trials, GaussianProcess(), 0)
    assert outlook is not None
    rows = FakeSpace((4,) * 8, False).sample(np.random.default_rng(0), 40)
    found = outlook.models["error"].predict(rows)
    np.testing.assert_allclose(outlook(rows).likely, norm.cdf((0.6 - found.mean) / found.std))


def test_too_little_is_no_outlook() -> None:
    assert Outlook.of(problem(), search(Nsga2(evaluations=4), problem(), 0, 4).trials(), GaussianProcess(), 0) is None
    assert Outlook.of(problem(), [], GaussianProcess(), 0) is None


def test_guided_by_predictors_a_search_is_ahead_of_nsga2() -> None:
    def volumes(strategy: PredictorGuided | Nsga2) -> list[float]:
        return [search(strategy, problem(), s, 80).hypervolumes(problem(), REFERENCE)[-1] for s in range(4)]

    assert min(volumes(PredictorGuided(evaluations=80))) > max(volumes(Nsga2(evaluations=80)))


def test_neighbours_differ_in_one_decision_and_are_all() -> None:
    row = np.array([1, 0, 3, 2])
    found = np.unique(neighbours(problem((4, 3, 4, 3)), row), axis=0)
    assert ((found != row).sum(axis=1) <= 1).all()
    assert len(found) == 1 + 3 + 2 + 3 + 2


def test_local_search_climbs_to_the_best_of_a_smooth_space() -> None:
    smooth = Problem(FakeSpace((4,) * 8, False), {"latency_ms": "minimize"})
    archive = search(LocalSearch(evaluations=150), smooth, 0, 150)
    assert archive.values(["latency_ms"]).min() == 0


def test_regularized_evolution_forgets_the_oldest() -> None:
    """Children are mutations of the best trial, the tenth, for as long as it is among the ten youngest."""
    strategy = RegularizedEvolution(evaluations=400, population=10, sample=99, batch_size=1)
    archive, alone = Archive.memory(), Problem(FakeSpace((2,) * 12, False), {"error": "minimize"})
    for number in range(60):
        trial = judge(alone, number, strategy.ask(alone, archive, 0)[0])
        archive.add(replace(trial, values={"error": -1.0 if number == 9 else 1.0}))
    away = (archive.matrix() != archive.matrix()[9]).sum(axis=1)
    assert away[10:19].mean() < 2.5
    assert away[40:].mean() > 4


def test_parents_come_from_where_the_front_is_sparse() -> None:
    chances = sparseness(np.array([[0.0, 1.0], [0.01, 0.99], [0.02, 0.98], [1.0, 0.0]]), 0.1)
    assert chances.sum() == pytest.approx(1)
    assert chances[3] > 2 * chances[:3].max()


def test_the_intercepts_of_a_plane_scale_its_axes_to_one() -> None:
    values = np.array([[0.0, 4.0], [2.0, 0.0], [1.0, 2.0]])
    np.testing.assert_allclose(normalized(values + 7.0, np.ones(3, dtype=bool)), values / [2.0, 4.0])


def test_the_distance_from_an_axis_is_perpendicular() -> None:
    niche, distance = associated(np.array([[1.0, 1.1], [0.9, 0.0]]), np.array([[1.0, 0.0], [0.5, 0.5]]))
    assert niche.tolist() == [1, 0]
    np.testing.assert_allclose(distance, [0.1 / np.sqrt(2), 0.0], atol=1e-12)


def test_empty_directions_are_filled_first_by_their_nearest() -> None:
    counts, niche, distance = np.array([2, 0, 0]), np.array([0, 1, 1, 2]), np.array([0.0, 0.5, 0.1, 0.3])
    assert sorted(niching(counts, niche, distance, 2, np.random.default_rng(0))) == [2, 3]


def test_whole_ranks_survive_before_the_niches_count() -> None:
    values = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 2.0], [2.0, 1.0], [1.4, 1.4]])
    kept = selected(values, np.zeros(5), 4, np.random.default_rng(0))
    assert {0, 1} <= set(kept.tolist())
    assert len(set(kept.tolist())) == 4


def test_each_weighted_problem_holds_the_best_that_its_neighbours_were_offered() -> None:
    strategy = Moead(evaluations=60, population=6, neighbours=6)
    archive = search(strategy, problem(), 0, 60)
    values = np.stack([problem().minimized(trial.values) for trial in archive.trials()])
    final = strategy._held(values, np.zeros(60), strategy._near(2))
    weights, scaled = strategy._weights(2), from_ideal(values)
    offered = (weights[:, None] * scaled).max(axis=2)
    assert (offered[np.arange(6), final] <= np.quantile(offered, 0.1, axis=1)).all()
