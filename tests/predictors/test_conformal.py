"""jackknife+ and CV+ against their definition, and their coverage where theory tells it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

from predictors._role import Arrays, Examples, Model, Prediction, Predictor
from predictors.conformal import Conformal, quantile, stretch
from predictors.encodings._role import Encoding, Genes
from predictors.ridge import Ridge
from predictors.transfer import Transfer
from tests.predictors.spaces import encoding, examples, rows


@dataclass(frozen=True)
class Constant(Model):
    """The examples' mean and deviation, of logarithms where these are learned."""

    mean: float
    std: float

    def predict(self, matrix: Genes) -> Prediction:
        return Prediction(np.full(len(matrix), self.mean), np.full(len(matrix), self.std))

    def arrays(self) -> Arrays:
        return {"moments": np.array([self.mean, self.std])}


class Mean(Predictor):
    """Knows nothing of rows."""

    def needed(self, encoding: Encoding) -> int:
        return 2

    def fit(self, examples: Examples) -> Constant:
        return Constant(float(examples.values.mean()), float(examples.values.std()) + 1e-3)

    def restore(self, encoding: Encoding, arrays: Arrays) -> Constant:
        return Constant(*np.asarray(arrays["moments"], dtype=float))


def direct(predictor: Conformal, known: Examples, matrix: Genes, level: float) -> list[tuple[float, float]]:
    """Equation 1.3, one example and one row at a time, with a fit for each example."""
    count = min(predictor.folds, len(known))
    fold = np.random.default_rng(known.seed).permutation(np.arange(len(known)) % count)
    logarithmic = predictor.target == "log"
    said = []
    for i in range(len(known)):
        model = predictor.base.model_copy(update={"target": predictor.target}).fit(known.subset(fold != fold[i]))
        found = model.predict(np.vstack([known.matrix[i : i + 1], matrix]))
        mean = np.log(found.mean) if logarithmic else found.mean
        std = np.sqrt(np.log(1 + (found.std / found.mean) ** 2)) if logarithmic else found.std
        said.append((mean, std))
    usual = sum(std[0] ** 2 for _, std in said) / len(known)
    values = np.log(known.values) if logarithmic else known.values
    found = []
    for row in range(1, len(matrix) + 1):
        uppers, lowers = [], []
        for value, (mean, std) in zip(values, said, strict=True):
            unit, there = (math.sqrt(std[at] ** 2 + usual) if predictor.normalize else 1.0 for at in (0, row))
            reach = abs(value - mean[0]) / unit * there
            uppers.append(mean[row] + reach)
            lowers.append(mean[row] - reach)
        rank = level * (len(known) + 1) - 1
        below, share = math.floor(rank), rank - math.floor(rank)
        uppers.sort()
        lowers.sort(reverse=True)
        pairs = [(ends[below], ends[min(below + 1, len(ends) - 1)]) for ends in (lowers, uppers)]
        low, high = ((1 - share) * first + share * second for first, second in pairs)
        found.append((math.exp(low), math.exp(high)) if logarithmic else (low, high))
    return found


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize(("folds", "target"), [(30, "log"), (4, "log"), (4, "linear")])
def test_ends_are_those_of_the_definition(folds: int, target: str, normalize: bool) -> None:
    predictor = Conformal(base=Ridge(), folds=folds, target=target, normalize=normalize)
    known, matrix = examples(encoding("nas_bench_201"), 15), rows(encoding("nas_bench_201"), 6, seed=2)
    found = predictor.fit(known).interval(matrix, 0.8)
    np.testing.assert_allclose(np.stack(found, axis=1), direct(predictor, known, matrix, 0.8), rtol=1e-6)


def test_mean_and_deviation_are_those_of_the_nested_predictor_on_all_examples() -> None:
    known, matrix = examples(encoding("nas_bench_201"), 20), rows(encoding("nas_bench_201"), 9, seed=2)
    found, plain = Conformal(base=Transfer()).fit(known).predict(matrix), Transfer().fit(known).predict(matrix)
    np.testing.assert_array_equal(found.mean, plain.mean)
    np.testing.assert_array_equal(found.std, plain.std)


@pytest.mark.parametrize("n", [10, 20, 60])
def test_coverage_is_at_the_level_for_exchangeable_values(n: int) -> None:
    """With a predictor that looks at no rows, coverage can be counted over many draws."""
    space = encoding("nas_bench_201")
    plain, hits = Examples(space, rows(space, n), np.ones(n)), []
    predictor = Conformal(base=Mean(), target="linear", folds=n, normalize=False)
    for seed in range(300):
        values = np.random.default_rng(seed).standard_t(4, n + 200)
        low, high = predictor.fit(replace(plain, values=values[:n], seed=seed)).interval(plain.matrix[:1])
        hits.append(np.mean((low <= values[n:]) & (values[n:] <= high)))
    assert 0.88 <= np.mean(hits) <= 0.93


def test_quantiles_are_ranks_and_lie_between_them_evenly() -> None:
    ends = np.array([[4.0, 1.0, 3.0, 2.0]])
    assert quantile(ends, 0.4) == 2.0 and quantile(ends, 0.5) == 2.5 and quantile(ends, 0.8) == 4.0
    assert quantile(ends, 0.99) == 4.0 and quantile(ends, 0.1) == 1.0


def test_scores_are_stretched_only_where_they_are_too_few() -> None:
    assert stretch(9, 0.9) == stretch(900, 0.9) == 1.0
    assert 1.0 < stretch(8, 0.9) < stretch(5, 0.9) < stretch(5, 0.99)


def test_it_needs_what_leaves_enough_to_every_fold() -> None:
    space = encoding("nas_bench_201")
    for folds in (2, 5, 100):
        predictor = Conformal(base=Ridge(), folds=folds)
        needed = predictor.needed(space)
        predictor.fit(examples(space, needed))
        with pytest.raises(ValueError, match="at least"):
            predictor.fit(examples(space, needed - 1))


def test_a_level_lies_between_0_and_1() -> None:
    model = Conformal(base=Ridge(), folds=2).fit(examples(encoding("nas_bench_201"), 20))
    for level in (0.0, 1.0, 90.0):
        with pytest.raises(ValueError, match="between 0 and 1"):
            model.interval(rows(encoding("nas_bench_201"), 2), level)
