"""What every predictor keeps to; a new file in `predictors/` is found by itself."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from predictors._file import PredictorFileError, load, save
from predictors._role import Examples, Model, Predictor
from searchspaces.parse import parse
from searchspaces.registry import kinds, resolve
from tests.predictors.spaces import encoding, examples, rows

KINDS = kinds(Predictor)
SPACES = ("nas_bench_201", "profiled")
CASES = [(kind, space) for kind in KINDS for space in SPACES]
QUICK: dict[str, Any] = {"iterations": 15, "trees": 16, "inducing": 40, "steps": 300, "folds": 4}
"""Settings that make a part fit fast, where it has them."""
LEARNED = 96


@lru_cache
def predictor(kind: str) -> Predictor:
    found = resolve(Predictor, kind)
    return found(**{name: value for name, value in QUICK.items() if name in found.model_fields})


@lru_cache
def learned(space: str) -> Examples:
    return examples(encoding(space), LEARNED)


@lru_cache
def fitted(kind: str, space: str) -> Model:
    return predictor(kind).fit(learned(space))


def same(first: Model, second: Model, matrix: Any) -> None:
    """Both predict the same to the last bit."""
    one, other = first.predict(matrix), second.predict(matrix)
    np.testing.assert_array_equal(one.mean, other.mean)
    np.testing.assert_array_equal(one.std, other.std)
    for ends in zip(first.interval(matrix), second.interval(matrix), strict=True):
        np.testing.assert_array_equal(*ends)


@pytest.mark.parametrize(("kind", "space"), CASES)
def test_it_predicts_better_than_the_mean(kind: str, space: str) -> None:
    unseen = examples(encoding(space), 200, seed=5)
    found = fitted(kind, space).predict(unseen.matrix).mean
    mean = np.exp(np.log(learned(space).values).mean())
    errors, plain = np.abs(np.log(found / unseen.values)), np.abs(np.log(mean / unseen.values))
    assert errors.mean() < 0.7 * plain.mean()
    assert spearmanr(found, unseen.values).statistic > 0.7


@pytest.mark.parametrize(("kind", "space"), CASES)
def test_deviations_are_positive_and_intervals_grow_about_the_mean(kind: str, space: str) -> None:
    matrix = rows(encoding(space), 50, seed=3)
    found = fitted(kind, space).predict(matrix)
    assert found.mean.shape == found.std.shape == (50,)
    assert np.isfinite(found.mean).all() and np.isfinite(found.std).all() and (found.std > 0).all()
    ends = [fitted(kind, space).interval(matrix, level) for level in (0.5, 0.8, 0.95)]
    slack = 1e-9 * np.abs(found.mean)
    for (inner_low, inner_high), (low, high) in pairwise(ends):
        assert (inner_low < inner_high).all()
        assert (low <= inner_low + slack).all() and (high >= inner_high - slack).all()
    low, high = ends[-1]
    assert (low <= found.mean + slack).all() and (high >= found.mean - slack).all()


@pytest.mark.parametrize("kind", KINDS)
def test_equal_examples_and_seeds_give_equal_models(kind: str) -> None:
    again = predictor(kind).fit(learned("nas_bench_201"))
    same(again, fitted(kind, "nas_bench_201"), rows(encoding("nas_bench_201"), 40))


@pytest.mark.parametrize(("kind", "space"), CASES)
def test_a_saved_model_is_the_same_to_the_last_bit(kind: str, space: str, tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    save(path, predictor(kind), fitted(kind, space), encoding(space))
    found, model = load(path, encoding(space))
    assert found == predictor(kind)
    same(model, fitted(kind, space), rows(encoding(space), 60, seed=4))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", KINDS)
def test_its_arrays_are_plain(kind: str) -> None:
    arrays = {key: np.asarray(array) for key, array in fitted(kind, "nas_bench_201").arrays().items()}
    assert arrays and all(array.dtype.kind in "biufU" for array in arrays.values())


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_of_another_space_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    save(path, predictor(kind), fitted(kind, "profiled"), encoding("profiled"))
    for other in ("nas_bench_201", "space"):
        with pytest.raises(PredictorFileError, match="another space or table"):
            load(path, encoding(other))


@pytest.mark.parametrize(("kind", "space"), CASES)
def test_each_row_is_predicted_by_itself(kind: str, space: str) -> None:
    matrix = rows(encoding(space), 30, seed=6)
    whole = fitted(kind, space).predict(matrix)
    order = np.random.default_rng(0).permutation(30)
    shuffled = fitted(kind, space).predict(matrix[order])
    np.testing.assert_allclose(shuffled.mean, whole.mean[order], rtol=1e-5)
    np.testing.assert_allclose(shuffled.std, whole.std[order], rtol=1e-3)
    alone = fitted(kind, space).predict(matrix[:1])
    np.testing.assert_allclose(alone.mean, whole.mean[:1], rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_no_rows_are_no_predictions(kind: str) -> None:
    matrix = rows(encoding("nas_bench_201"), 1)[:0]
    found = fitted(kind, "nas_bench_201").predict(matrix)
    assert found.mean.shape == found.std.shape == (0,)


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_learned_from_is_refused(kind: str) -> None:
    few = learned("nas_bench_201")
    with pytest.raises(ValueError, match="example"):
        predictor(kind).fit(few.subset(np.arange(1)))
    with pytest.raises(ValueError, match="positive"):
        predictor(kind).fit(replace(few, values=few.values - few.values.mean()))
    with pytest.raises(ValueError, match="finite"):
        predictor(kind).fit(replace(few, values=np.where(np.arange(LEARNED) == 3, np.nan, few.values)))


@pytest.mark.parametrize("kind", KINDS)
def test_its_description_is_its_identity(kind: str) -> None:
    assert parse(Predictor, predictor(kind).describe()) == predictor(kind)
