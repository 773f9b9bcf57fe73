"""The latency table: a sum over blocks, scaled to whole networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hardware.backends.roofline import Roofline
from hardware.measurement import Measurement, MeasurementError
from hardware.profile import profile
from hardware.store import LatencyStore
from predictors.latency_table import LatencyTable
from searchspaces.placements import Placements
from tests.searchspaces.spaces import FAMILIES, SIGNATURE, space


@pytest.fixture(params=sorted(FAMILIES))
def placements(request: pytest.FixtureRequest) -> Placements:
    return Placements(space(FAMILIES[request.param]))


@pytest.fixture
def table(placements: Placements, tmp_path: Path) -> LatencyTable:
    with LatencyStore(tmp_path / "table.sqlite") as store:
        found = profile(placements.units, SIGNATURE.input_shape, Roofline(), store)
    return LatencyTable(placements, found)


def test_it_predicts_an_additive_backend_exactly(placements: Placements, table: LatencyTable) -> None:
    rows = placements.space.sample(np.random.default_rng(0), 20)
    expected = [Roofline().estimate(placements.space.decode(row)).milliseconds for row in rows]
    np.testing.assert_allclose(table.predict(rows), expected, rtol=1e-9)


def test_fit_learns_what_the_sum_misses_and_keeps_the_overhead(placements: Placements, table: LatencyTable) -> None:
    rows = placements.space.sample(np.random.default_rng(1), 9)
    plain = table.predict(rows)
    slower = table.overhead_ms + 1.25 * (plain - table.overhead_ms)
    outlier = [Measurement(latency_ms=float(value)) for value in [*slower[:-2], 100.0]]
    failed = Measurement.failed(MeasurementError("timeout", "too slow"))
    table.fit(rows, [*outlier, failed])
    assert table.scale == pytest.approx(1.25)
    np.testing.assert_allclose(table.predict(rows), slower, rtol=1e-12)


def test_fit_on_nothing_leaves_the_sum(placements: Placements, table: LatencyTable) -> None:
    rows = placements.space.sample(np.random.default_rng(2), 2)
    plain = table.predict(rows)
    table.fit(rows, [Measurement.failed(MeasurementError("timeout", "too slow"))] * 2)
    np.testing.assert_array_equal(table.predict(rows), plain)
