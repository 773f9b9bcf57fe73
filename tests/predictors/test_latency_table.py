"""The latency table: a sum over blocks, scaled to whole networks, or learned from them."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from scipy.optimize import nnls

from hardware.backends.roofline import Roofline
from hardware.profile import profile
from hardware.store import LatencyStore
from predictors._role import Examples
from predictors.encodings.space import SpaceEncoding
from predictors.latency_table import LatencyTable, _least_squares
from tests.predictors.spaces import encoding, examples, placements
from tests.searchspaces.spaces import FAMILIES, SIGNATURE


@lru_cache
def profiled(family: str) -> SpaceEncoding:
    found = placements(family)
    with LatencyStore(":memory:") as store:
        return SpaceEncoding(found, profile(found.units, SIGNATURE.input_shape, Roofline(), store))


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_it_predicts_an_additive_backend_exactly(family: str) -> None:
    space = placements(family).space
    rows = space.sample(np.random.default_rng(0), 20)
    expected = [Roofline().estimate(space.decode(row)).milliseconds for row in rows]
    model = LatencyTable().fit(Examples.none(profiled(family)))
    np.testing.assert_allclose(model.predict(rows).mean, expected, rtol=1e-9)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_fit_learns_what_the_sum_misses_and_keeps_the_overhead(family: str) -> None:
    rows = placements(family).space.sample(np.random.default_rng(1), 9)
    plain = LatencyTable().fit(Examples.none(profiled(family)))
    before = plain.predict(rows).mean
    slower = plain.overhead + 1.25 * (before - plain.overhead)
    with_outlier = Examples(profiled(family), rows, np.array([*slower[:-1], 100.0]))
    model = LatencyTable().fit(with_outlier)
    assert model.scale == pytest.approx(1.25)
    np.testing.assert_allclose(model.predict(rows).mean, slower, rtol=1e-12)
    assert model.relative_std < plain.relative_std


def test_a_row_that_cannot_be_run_is_infinite() -> None:
    model = LatencyTable().fit(Examples.none(profiled("metaformer")))
    rows = placements().space.sample(np.random.default_rng(2), 30)
    failed = profiled("metaformer").tokens(rows)[0, 0]
    model.values = np.where(np.arange(len(model.values)) == failed, np.inf, model.values)
    found = model.predict(rows)
    hit = (profiled("metaformer").tokens(rows) == failed).any(axis=1)
    assert np.array_equal(np.isinf(found.mean), hit) and hit.any() and not hit.all()
    assert np.isfinite(found.std).all()


def test_a_table_is_learned_where_none_was_measured() -> None:
    plain = encoding("nas_bench_201")
    learned, unseen = examples(plain, 300), examples(plain, 300, seed=9)
    costs = np.random.default_rng(3).uniform(0, 1, plain.vocabulary + 1)
    values = [2 + costs[part.encoding.tokens(part.matrix)].sum(axis=1) for part in (learned, unseen)]
    model = LatencyTable().fit(replace(learned, values=values[0]))
    np.testing.assert_allclose(model.predict(unseen.matrix).mean, values[1], rtol=0.01)
    assert (model.values >= 0).all()


def test_least_squares_without_penalty_are_those_of_lawson_and_hanson() -> None:
    rng = np.random.default_rng(0)
    basis, aim = rng.normal(size=(60, 8)), rng.normal(size=60)
    found = _least_squares(basis, aim, np.zeros(8), np.ones(8))
    np.testing.assert_allclose(found, nnls(basis, aim)[0], atol=1e-6)
    heavy = _least_squares(basis, aim, np.full(8, 1e9), np.arange(8.0))
    np.testing.assert_allclose(heavy, np.arange(8.0), atol=1e-5)
