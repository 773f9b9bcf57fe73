"""The design: the informative first, the others estimated from what is like them."""

from __future__ import annotations

import numpy as np
import pytest

from hardware.design import BlockField
from searchspaces.blocks.channel_mixing import ChannelMixing
from searchspaces.blocks.token_mixing import TokenMixing
from searchspaces.channel_mixers.mlp import Mlp
from searchspaces.mixers.depthwise import Depthwise
from searchspaces.placements import Unit

RATIOS = (1.0, 1.1, 2.0, 4.0, 8.0)
UNITS = [Unit(ChannelMixing(mixer=Mlp(ratio=ratio)), (32, 8, 8)) for ratio in RATIOS]
UNITS += [Unit(TokenMixing(mixer=Depthwise(kernel=kernel)), (32, 8, 8)) for kernel in (3, 5)]
FIELD = BlockField.of(UNITS)
NONE = np.zeros(len(UNITS), dtype=bool)


def errors(known: np.ndarray, weights: np.ndarray) -> float:
    """The weighted sum of posterior variances, from the textbook formula."""
    every, seen = np.arange(len(UNITS)), np.flatnonzero(known)
    cross = FIELD.covariance(every, seen)
    inner = FIELD.covariance(seen, seen) + 0.05**2 * np.eye(len(seen))
    posterior = FIELD.covariance(every, every) - cross @ np.linalg.inv(inner) @ cross.T
    return float(weights @ posterior.diagonal())


def test_each_choice_takes_most_off_the_expected_error() -> None:
    usage = np.random.default_rng(0).uniform(0.1, 1.0, len(UNITS))
    weights = (usage * FIELD.estimates_ms) ** 2
    known = NONE.copy()
    for chosen in FIELD.order(usage, NONE):
        after = [errors(known | (np.arange(len(UNITS)) == number), weights) for number in np.flatnonzero(~known)]
        assert errors(known | (np.arange(len(UNITS)) == chosen), weights) == pytest.approx(min(after))
        known[chosen] = True
    assert known.all()


def test_what_is_known_is_not_chosen_and_its_like_comes_last() -> None:
    known = np.arange(len(UNITS)) == 0
    order = FIELD.order(1 / FIELD.estimates_ms, known).tolist()
    assert sorted(order) == list(range(1, len(UNITS)))
    assert order[-1] == 1, "the block that is most like the known one"


def test_blocks_that_no_network_has_are_measured_last() -> None:
    usage = np.ones(len(UNITS))
    usage[:5] = 0.0
    assert set(FIELD.order(usage, NONE)[:2]) == {5, 6}


def test_a_common_factor_is_learned_from_a_few() -> None:
    known = np.isin(np.arange(len(UNITS)), [0, 4, 5])
    posterior = FIELD.posterior_ms(known, 3.0 * FIELD.estimates_ms)
    np.testing.assert_allclose(posterior, 3.0 * FIELD.estimates_ms, rtol=1e-9)


def test_a_block_is_estimated_from_its_like() -> None:
    known = np.isin(np.arange(len(UNITS)), [0, 4, 5])
    factors = np.array([2.0, 2.0, 2.0, 2.0, 2.0, 8.0, 8.0])
    posterior = FIELD.posterior_ms(known, factors * FIELD.estimates_ms) / FIELD.estimates_ms
    assert posterior[1] == pytest.approx(2.0, rel=0.2)
    assert posterior[6] > 1.5 * posterior[1]


def test_without_a_measurement_the_analytic_estimate_stands() -> None:
    np.testing.assert_array_equal(FIELD.posterior_ms(NONE, np.zeros(len(UNITS))), FIELD.estimates_ms)


def test_beyond_the_greatest_thousand_shares_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hardware.design._MOST", 2)
    usage = np.ones(len(UNITS))
    order = FIELD.order(usage, NONE)
    share = usage * FIELD.estimates_ms
    assert sorted(order) == list(range(len(UNITS)))
    assert np.all(np.diff(share[order[2:]]) <= 0)
