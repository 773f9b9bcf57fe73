"""Predictors made of predictors: additive and residual, and the choice among candidates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from predictors.additive_residual import AdditiveResidual, Physics
from predictors.auto import Auto
from predictors.gradient_boosting import GradientBoosting
from predictors.latency_table import LatencyTable
from predictors.ridge import Ridge
from tests.predictors.spaces import encoding, examples


def test_the_product_is_that_of_its_parts() -> None:
    unseen = examples(encoding("profiled"), 20, seed=3).matrix
    learned = examples(encoding("profiled"), 30)
    model = AdditiveResidual(residual=Ridge()).fit(learned)
    base = LatencyTable().fit(learned).predict(unseen).mean
    ratio = Ridge().fit(
        replace(learned, values=learned.values / LatencyTable().fit(learned).predict(learned.matrix).mean)
    )
    np.testing.assert_allclose(model.predict(unseen).mean, base * ratio.predict(unseen).mean, rtol=1e-9)
    np.testing.assert_allclose(model.predict(unseen).std, base * ratio.predict(unseen).std, rtol=1e-9)


@pytest.mark.parametrize("space", ["nas_bench_201", "profiled"])
def test_a_residual_improves_on_the_sum(space: str) -> None:
    """Here the option of one decision makes everything slower, which no sum says."""
    learned, unseen = (
        replace(part, values=part.values * np.where(part.matrix[:, 0] > 0, 1.5, 1.0))
        for part in (examples(encoding(space), 60), examples(encoding(space), 300, seed=8))
    )
    model = AdditiveResidual().fit(learned)
    found, alone = model.predict(unseen.matrix).mean, model.additive.predict(unseen.matrix).mean
    error, plain = (np.abs(np.log(values / unseen.values)).mean() for values in (found, alone))
    assert error < 0.6 * plain


def test_physics_finds_the_rates_of_amounts() -> None:
    space = encoding("space")
    learned = examples(space, 60)
    amounts = space.physics(learned.matrix)
    rates = np.array([2.0, 0.0, 1.0, 0.0, 3.0]) / amounts.mean(axis=0)
    model = Physics.of(replace(learned, values=0.5 + amounts @ rates))
    assert (model.rates >= 0).all()
    unseen = space.physics(examples(space, 40, seed=3).matrix)
    np.testing.assert_allclose(unseen @ model.rates[:-1] + model.rates[-1], 0.5 + unseen @ rates, rtol=1e-6)


def test_the_best_candidate_is_chosen_and_every_score_told() -> None:
    candidates = (GradientBoosting(members=2, trees=4), Ridge(), LatencyTable())
    learned = examples(encoding("nas_bench_201"), 60)
    model = Auto(candidates=candidates, folds=3).fit(learned)
    assert set(model.scores) == {"gradient_boosting", "ridge", "latency_table"}
    assert model.scores[candidates[model.chosen].kind()] == min(model.scores.values())
    alone = candidates[model.chosen].fit(learned)
    np.testing.assert_array_equal(model.predict(learned.matrix).mean, alone.predict(learned.matrix).mean)


def test_a_candidate_that_cannot_learn_is_left_out() -> None:
    learned = examples(encoding("nas_bench_201"), 40)
    negative = replace(learned, values=learned.values - learned.values.mean())
    auto = Auto(target="linear", candidates=(AdditiveResidual(target="linear"), Ridge(target="linear")))
    with pytest.warns(UserWarning, match="positive"):
        model = auto.fit(negative)
    assert model.chosen == 1 and model.scores["additive_residual"] == np.inf
