"""What the search believes of latencies, and how it is scored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hardware.backends.roofline import Roofline
from hardware.blocks import Blocks
from hardware.measurement import Measurement, MeasurementError
from nas.beliefs import Believed
from nas.latency_scores import ceiling, halves, scored
from predictors.additive_residual import AdditiveResidual
from predictors.encodings.space import SpaceEncoding
from searchspaces.placements import Placements
from tests.searchspaces.spaces import FAMILIES, space

SPACE = space(FAMILIES["metaformer"])
ROWS = np.unique(SPACE.sample(np.random.default_rng(0), 60), axis=0)
TRUTH = [Roofline().estimate(SPACE.decode(row)) for row in ROWS]


def latency() -> Believed:
    return Believed(AdditiveResidual(), SpaceEncoding(Placements(SPACE)), level=0.9)


def test_it_learns_what_is_measured_and_forgets_failures() -> None:
    found = latency()
    found.learn(ROWS[:30], TRUTH[:30])
    found.learn(ROWS[30:31], [Measurement.failed(MeasurementError("timeout", "too slow"))])
    assert len(found) == 30
    believed = found.predict(ROWS[30:]).mean
    measured = np.array([one.milliseconds for one in TRUTH[30:]])
    assert np.median(np.abs(believed / measured - 1)) < 0.1


def test_it_is_refitted_when_more_is_known_and_a_row_counts_once() -> None:
    found = latency()
    found.learn(ROWS[:20], TRUTH[:20])
    before = found.predict(ROWS).mean
    found.take(ROWS[0], 3 * TRUTH[0].milliseconds)
    assert len(found) == 20
    assert not np.array_equal(found.predict(ROWS).mean, before)


def test_equal_knowledge_in_equal_order_gives_equal_beliefs() -> None:
    first, second = latency(), latency()
    first.learn(ROWS[:20], TRUTH[:20])
    _ = first.model
    first.learn(ROWS[20:30], TRUTH[20:30])
    second.learn(ROWS[:30], TRUTH[:30])
    np.testing.assert_array_equal(first.predict(ROWS).mean, second.predict(ROWS).mean)


def test_intervals_have_the_level_that_was_asked_for() -> None:
    found = latency()
    found.learn(ROWS[:20], TRUTH[:20])
    np.testing.assert_array_equal(found.interval(ROWS)[1], found.interval(ROWS, 0.9)[1])
    assert np.all(found.interval(ROWS, 0.99)[1] >= found.interval(ROWS)[1])


def test_too_few_networks_are_told() -> None:
    with pytest.raises(ValueError, match="at least"):
        latency().predict(ROWS)


def test_scores_of_a_known_model() -> None:
    found = latency()
    found.learn(ROWS[:40], TRUTH[:40])
    believed = found.predict(ROWS[40:]).mean
    shifted = [replace(one, latency_ms=value / 1.08) for one, value in zip(TRUTH[40:], believed, strict=True)]
    scores = scored(found, ROWS[40:], shifted)
    assert scores.networks == len(ROWS) - 40
    assert (scores.within_5, scores.within_10, scores.within_15) == (0.0, 1.0, 1.0)
    assert scores.median_error == pytest.approx(0.08)
    assert scores.bias == pytest.approx(0.08)
    assert (scores.spearman, scores.ceiling, scores.noise) == (pytest.approx(1.0), 1.0, 0.0)


def test_halves_come_from_even_and_odd_visits() -> None:
    rows = [(visit, 1.0 if visit % 2 == 0 else 2.0, 1.0, 1.0) for visit in range(4) for _ in range(5)]
    blocks = Blocks.of(rows, runs=1)
    assert halves(Measurement(latency_ms=1.5, blocks=blocks)) == (1.0, 2.0)
    assert halves(Measurement(latency_ms=1.5)) == (1.5, 1.5)


def test_the_ceiling_is_what_a_perfect_predictor_reaches() -> None:
    rng = np.random.default_rng(0)
    truth = rng.standard_normal(20_000)
    first, second = truth + rng.standard_normal((2, 20_000))
    reached = np.corrcoef(truth.argsort().argsort(), ((first + second) / 2).argsort().argsort())[0, 1]
    assert ceiling(first, second) == pytest.approx(reached, abs=0.01)
