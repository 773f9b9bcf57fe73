"""A new device from few examples: kin are found, strangers do no harm, sources travel with the model."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from predictors._file import load, save
from predictors._role import Arrays, Examples, Model, Prediction
from predictors._sources import Sources
from predictors.conformal import Conformal
from predictors.encodings._role import Floats, Genes
from predictors.ridge import Ridge
from predictors.transfer import Transfer, TransferModel
from tests.predictors.spaces import encoding, rows

SPACE = "nas_bench_201"


def latency(matrix: Genes, device: int) -> Floats:
    """Of devices of two families, even and odd: operators cost alike within one, and nothing alike across."""
    costs = np.random.default_rng(device % 2).lognormal(0, 1.0, (matrix.shape[1], 5))
    costs = costs * np.random.default_rng(100 + device).lognormal(0, 0.1, costs.shape)
    return np.asarray(2.0 + costs[np.arange(matrix.shape[1]), matrix].sum(axis=1), dtype=float)


@lru_cache
def sources(*devices: int) -> tuple[Model, ...]:
    matrix = rows(encoding(SPACE), 300, seed=50)
    return tuple(Ridge().fit(Examples(encoding(SPACE), matrix, latency(matrix, device))) for device in devices)


def known(n: int, *devices: int, seed: int = 0) -> Examples:
    """Examples of device 0."""
    matrix = rows(encoding(SPACE), n, seed)
    return Examples(encoding(SPACE), matrix, latency(matrix, 0), sources(*devices), seed)


def score(model: Model) -> float:
    matrix = rows(encoding(SPACE), 500, seed=77)
    return float(spearmanr(model.predict(matrix).mean, latency(matrix, 0)).statistic)


def test_kin_are_found_among_strangers() -> None:
    found = [score(Transfer().fit(known(10, 1, 2, 3, 5, 7, 9, 11, seed=seed))) for seed in range(5)]
    alone = [score(Transfer().fit(known(10, seed=seed))) for seed in range(5)]
    assert np.mean(found) > 0.93
    assert np.mean(found) > np.mean(alone) + 0.05


def test_strangers_do_little_harm() -> None:
    misled = [score(Transfer().fit(known(20, 1, 3, 5, 7, seed=seed))) for seed in range(5)]
    alone = [score(Transfer().fit(known(20, seed=seed))) for seed in range(5)]
    assert np.mean(misled) > np.mean(alone) - 0.1


def test_more_examples_are_better_and_surer() -> None:
    matrix = rows(encoding(SPACE), 100, seed=3)
    few, many = (Transfer().fit(known(n, 2, 3)) for n in (10, 200))
    assert score(many) > score(few)
    assert many.predict(matrix).std.mean() < few.predict(matrix).std.mean()


def test_the_order_and_the_unit_of_sources_do_not_matter() -> None:
    matrix = rows(encoding(SPACE), 30, seed=3)
    one, other = (Transfer().fit(known(12, *devices)).predict(matrix) for devices in ((1, 2, 4), (4, 1, 2)))
    np.testing.assert_allclose(other.mean, one.mean, rtol=1e-6)
    shown = rows(encoding(SPACE), 300, seed=50)
    seconds = Ridge().fit(Examples(encoding(SPACE), shown, latency(shown, 2) / 1000))
    scaled = Transfer().fit(replace(known(12), sources=(*sources(1), seconds, *sources(4)))).predict(matrix)
    np.testing.assert_allclose(scaled.mean, one.mean, rtol=1e-4)


def test_values_in_another_unit_give_predictions_in_it() -> None:
    matrix, plain = rows(encoding(SPACE), 30, seed=3), known(12, 1, 2)
    one = Transfer().fit(plain).predict(matrix)
    other = Transfer().fit(replace(plain, values=plain.values * 1000)).predict(matrix)
    np.testing.assert_allclose(other.mean, 1000 * one.mean, rtol=1e-6)
    np.testing.assert_allclose(other.std, 1000 * one.std, rtol=1e-6)


@pytest.mark.parametrize("predictor", [Transfer(), Conformal(base=Transfer(), folds=2)], ids=lambda part: part.kind())
def test_sources_are_saved_with_the_model(predictor: Transfer | Conformal, tmp_path: Path) -> None:
    inner = Transfer().fit(replace(known(30, 1), values=latency(rows(encoding(SPACE), 30), 4)))
    model = predictor.fit(replace(known(12, 1, 2), sources=(*sources(1, 2), inner)))
    save(tmp_path / "model.npz", predictor, model, encoding(SPACE))
    _, again = load(tmp_path / "model.npz", encoding(SPACE))
    matrix = rows(encoding(SPACE), 40, seed=9)
    np.testing.assert_array_equal(again.predict(matrix).mean, model.predict(matrix).mean)
    np.testing.assert_array_equal(again.predict(matrix).std, model.predict(matrix).std)


class Silent(Model):
    """A device on which some rows, or all, cannot be run."""

    predictor = Ridge()

    def __init__(self, nowhere: bool) -> None:
        self.nowhere = nowhere

    def predict(self, matrix: Genes) -> Prediction:
        mean = np.where(self.nowhere | (matrix[:, 0] == 0), np.inf, latency(matrix, 2))
        return Prediction(mean, np.ones(len(mean)))

    def arrays(self) -> Arrays:
        return {}


@pytest.mark.parametrize("nowhere", [True, False])
def test_a_source_that_is_silent_on_a_row_leaves_it_to_the_others(nowhere: bool) -> None:
    model = Transfer().fit(replace(known(20), sources=(Silent(nowhere), *sources(4))))
    found = model.predict(rows(encoding(SPACE), 200, seed=1))
    assert np.isfinite(found.mean).all() and np.isfinite(found.std).all()
    assert score(model) > 0.9


def test_a_surrogate_speaks_for_many_sources_as_they_would_themselves() -> None:
    models, matrix = sources(1, 2, 3, 4, 5), rows(encoding(SPACE), 300, seed=8)
    found = Sources.of(models, encoding(SPACE), logarithmic=True)
    assert (len(found), found.models) == (5, ())
    said = np.stack([np.log(model.predict(matrix).mean) for model in models], axis=1)
    unexplained = ((found.predict(matrix) - said) ** 2).mean(axis=0) / said.var(axis=0)
    assert (unexplained < 0.01).all()
    np.testing.assert_allclose(found.surrogate.errors, unexplained, rtol=2, atol=1e-3)  # type: ignore[union-attr]


class Noisy(Silent):
    """A device that no smooth function of the row describes."""

    def predict(self, matrix: Genes) -> Prediction:
        jumps = np.random.default_rng(0).permutation(5**6)[matrix @ 5 ** np.arange(6)]
        return Prediction(latency(matrix, 2) * (1 + jumps / 5**6), np.ones(len(matrix)))


def test_a_source_that_a_surrogate_cannot_speak_for_is_asked_itself() -> None:
    noisy, silent = Noisy(nowhere=False), Silent(nowhere=False)
    found = Sources.of((noisy, *sources(1, 2), silent), encoding(SPACE), logarithmic=False)
    assert (len(found), found.models) == (4, (noisy, silent))
    matrix = rows(encoding(SPACE), 20)
    np.testing.assert_array_equal(found.predict(matrix)[:, 0], noisy.predict(matrix).mean)


def test_values_that_do_not_vary_are_predicted_as_they_are() -> None:
    model = Transfer().fit(replace(known(10, 1, 2), values=np.full(10, 3.0)))
    np.testing.assert_allclose(model.predict(rows(encoding(SPACE), 50)).mean, 3.0, rtol=1e-6)


def test_a_model_of_unknown_making_is_refused() -> None:
    class Stranger(Silent):
        predictor = None  # type: ignore[assignment]

    with pytest.raises(ValueError, match="which predictor"):
        Sources.of([Stranger(True)], encoding(SPACE), True)
    assert isinstance(Transfer().fit(known(8, 1)), TransferModel)
