"""The generators, the inquisitor, and what both make of an archive."""

from __future__ import annotations

import numpy as np

from nas.problem import Problem
from nas.strategies._outlook import Outlook
from nas.strategies._scalarized import weights
from nas.strategies.generative import Generative, Generators, Inquisitor
from nas.strategies.nsga2 import Nsga2
from predictors.ridge import Ridge
from tests.nas.tabulated import FakeSpace, costs, problem, search

REFERENCE = [1.3, 25.0]


def inquisitor(bounded: Problem) -> Inquisitor:
    outlook = Outlook.of(bounded, search(Nsga2(evaluations=60), problem(), 0, 60).trials(), Ridge(), 0)
    assert outlook is not None
    return Inquisitor(outlook, weights(2, 4), 1.0)


def test_new_generators_are_uniform_and_keep_to_the_options() -> None:
    generators = Generators(problem((4, 2, 3)), 3)
    rows = generators.generate(3000, np.random.default_rng(0))
    assert rows.shape == (3, 3000, 3)
    for decision, size in enumerate((4, 2, 3)):
        shares = np.bincount(rows[1, :, decision], minlength=size) / 3000
        np.testing.assert_allclose(shares, np.full(size, 1 / size), atol=0.05)


def test_a_generator_moves_towards_its_elite_and_stays_where_all_are_refused() -> None:
    generators = Generators(problem((4, 4)), 2)
    rows = np.array([[[1, 2], [3, 3], [0, 0]], [[1, 2], [3, 3], [0, 0]]])
    generators.move(rows, np.array([[0.1, 0.5, 0.9], [np.inf] * 3]), elite=1, rate=0.5)
    np.testing.assert_allclose(generators.chances[0], [[0.125, 0.625, 0.125, 0.125], [0.125, 0.125, 0.625, 0.125]])
    np.testing.assert_allclose(generators.chances[1], 0.25)


def test_the_indicator_refuses_what_is_out_of_bounds() -> None:
    rows = FakeSpace((4,) * 8, False).sample(np.random.default_rng(0), 40).reshape(4, 10, 8)
    scores = inquisitor(problem(latency_ms=11.0)).probe(rows)
    latency = costs(rows.reshape(-1, 8))["latency_ms"].reshape(4, 10)
    np.testing.assert_array_equal(np.isinf(scores), latency > 11)
    bounded = Problem(
        FakeSpace((4,) * 8, False), {"error": "minimize", "latency_ms": "minimize"}, {"error": 0.6}, costs
    )
    found = inquisitor(bounded)
    likely = found.outlook(rows.reshape(-1, 8)).likely.reshape(4, 10)
    np.testing.assert_array_equal(np.isinf(found.probe(rows)), likely < 0.5)


def test_generators_find_what_their_directions_ask_for() -> None:
    """The corner directions ask for least error and for least latency."""
    archive = search(Generative(evaluations=60), problem(), 0, 60)
    latency = archive.values(["latency_ms"])[:, 0].reshape(6, 10)
    errors = archive.values(["error"])[:, 0].reshape(6, 10)
    places = weights(2, 10)
    for batch in (4, 5):
        assert latency[batch][places[:, 1].argmax()] < np.median(latency[batch])
        assert errors[batch][places[:, 0].argmax()] < np.median(errors[batch])


def test_more_turns_generate_better_proposals() -> None:
    def volume(cycles: int) -> float:
        runs = [search(Generative(evaluations=60, cycles=cycles), problem(), seed, 60) for seed in range(4)]
        return float(np.mean([run.hypervolumes(problem(), REFERENCE)[-1] for run in runs]))

    assert volume(6) > volume(1)
