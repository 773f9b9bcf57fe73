"""What a profile holds: blocks, networks as believed and as measured, fusions, inversions, windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hardware.backends._role import Backend
from hardware.fusion import PairTest, adjacent, fusion
from hardware.measurement import Measurement, Window
from hardware.monotonicity import Inversion, inversions
from hardware.profile import Profile
from hardware.store import LatencyStore
from nas import folders
from nas.latency_scores import Scores, scored
from nas.profiling import Profiler
from predictors._role import Arrays, Examples, Model, Prediction
from predictors.encodings._role import Floats, Genes
from searchspaces.architecture import Architecture
from searchspaces.placements import Unit

FOLDS = 5
"""Folds of the cross-validation by which networks are predicted that were learned from otherwise."""
PAIRS = 12
"""Pairs of blocks that are tested for fusion, at most."""


@dataclass(frozen=True)
class ProfileResults:
    """Everything that the page of a profile shows.

    Attributes:
        backend: what measured.
        profile: the blocks.
        units: of the space.
        networks: [n] that were measured whole.
        measurements: of these networks.
        believed: of these networks, each by a predictor that did not learn from it.
        intervals: lower and upper ends [n] of the same.
        scores: of these predictions.
        pairs: tests for fusion.
        inverted: larger blocks that measured faster, also the second time.
        windows: in which everything was measured.
    """

    backend: Backend
    profile: Profile
    units: Sequence[Unit]
    networks: Sequence[Architecture]
    measurements: Sequence[Measurement]
    believed: Floats
    intervals: tuple[Floats, Floats]
    scores: Scores
    pairs: Sequence[PairTest]
    inverted: Sequence[Inversion]
    windows: Sequence[Window]

    @property
    def measured_ms(self) -> Floats:
        """Of the networks: [n]."""
        return np.array([measurement.milliseconds for measurement in self.measurements])

    @property
    def errors(self) -> Floats:
        """Believed over measured, less 1: [n]."""
        return np.asarray(self.believed / self.measured_ms - 1)


def examine(profiler: Profiler) -> ProfileResults:
    """The results of a profile; only pairs for the fusion test may still have to be measured.

    Raises:
        ValueError: fewer than two networks for each fold were measured.
    """
    profile, latency, units = profiler.profile, profiler.latency, profiler.placements.units
    rows, measurements = _networks(profiler)
    model = cross_predicted(profiler, rows, np.array([found.milliseconds for found in measurements]))
    with LatencyStore(folders.latency_table()) as store:
        decoded = [profiler.placements.space.decode(row) for row in rows]
        pairs = fusion(profile, adjacent(profile, decoded, PAIRS), store)
        windows = store.windows(profiler.backend.key())
    return ProfileResults(
        backend=profiler.backend,
        profile=profile,
        units=units,
        networks=decoded,
        measurements=measurements,
        believed=model.predict(rows).mean,
        intervals=model.interval(rows, latency.level),
        scores=scored(model, rows, measurements),
        pairs=pairs,
        inverted=inversions(profile, units),
        windows=windows,
    )


def cross_predicted(profiler: Profiler, rows: Genes, values: Floats) -> Model:
    """The predictions of these rows, each by a predictor fitted on the other folds."""
    latency = profiler.latency
    folds = np.random.default_rng(0).permutation(len(rows)) % FOLDS
    found = np.zeros((4, len(rows)))
    for fold in range(FOLDS):
        out = folds == fold
        model = latency.fitted(Examples(latency.encoding, rows[~out], values[~out], seed=latency.seed))
        predicted = model.predict(rows[out])
        found[:, out] = predicted.mean, predicted.std, *model.interval(rows[out], latency.level)
    return _Known(found)


class _Known(Model):
    """Predictions that were made before, of certain rows in their order."""

    def __init__(self, found: Floats) -> None:
        self._found = found

    def predict(self, matrix: Genes) -> Prediction:
        """Of the rows that they were made of."""
        return Prediction(self._found[0], self._found[1])

    def interval(self, matrix: Genes, level: float = 0.9) -> tuple[Floats, Floats]:
        """Of the rows that they were made of, with the level that they were made for."""
        return self._found[2], self._found[3]

    def arrays(self) -> Arrays:
        """The predictions."""
        return {"found": self._found}


def _networks(profiler: Profiler) -> tuple[Genes, list[Measurement]]:
    """The networks that the predictor has learned from, with their measurements."""
    known = {row.tobytes() for row in profiler.latency.matrix}
    rows = np.array([row for row in profiler.rows if row.tobytes() in known])
    if len(rows) < 2 * FOLDS:
        raise ValueError(f"the page needs {2 * FOLDS} measured networks, there are {len(rows)}: set profile.networks")
    return rows, profiler.measured(rows)
