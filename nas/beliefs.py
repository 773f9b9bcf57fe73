"""Measured values as the search believes them: a predictor over measured networks, refitted when more are measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hardware.measurement import Measurement
from predictors._role import Arrays, Examples, Model, Prediction, Predictor
from predictors.encodings._role import Encoding, Floats, Genes
from predictors.latency_table import LatencyTable


class Believed(Model):
    """A value that is measured of networks, such as their latency, for every architecture of a space.

    Args:
        predictor: how it is learned.
        encoding: of the space.
        level: probability of the intervals.
        seed: of the fits.
        value: which field of a measurement.
        sources: the same value of other devices, for `transfer`.
    """

    def __init__(
        self,
        predictor: Predictor,
        encoding: Encoding,
        level: float,
        seed: int = 0,
        value: str = "latency_ms",
        sources: tuple[Model, ...] = (),
    ) -> None:
        self.predictor, self.encoding, self.level, self.seed = predictor, encoding, level, seed
        self.value, self.sources = value, sources
        self._known: dict[bytes, tuple[Genes, float]] = {}
        self._model: Model | None = None

    def __len__(self) -> int:
        """How many networks it has learned from."""
        return len(self._known)

    def learn(self, matrix: Genes, measurements: Sequence[Measurement]) -> None:
        """Takes in measured rows [n, decisions]; failures teach nothing, a row that is known is replaced."""
        for row, measurement in zip(matrix, measurements, strict=True):
            if measurement.ok and getattr(measurement, self.value) is not None:
                self.take(row, getattr(measurement, self.value))

    def take(self, row: Genes, value: float) -> None:
        """Takes in one measured row [decisions]."""
        self._known[np.asarray(row, dtype=np.int64).tobytes()] = (row, value)
        self._model = None

    @property
    def model(self) -> Model:
        """The predictor fitted on all that is known; the plain table while that is too little for it.

        Raises:
            ValueError: too few networks were measured, and there is no table either.
        """
        if self._model is None:
            self._model = self.fitted(self.examples)
        return self._model

    @property
    def examples(self) -> Examples:
        """All that is known."""
        values = np.array([value for _, value in self._known.values()], dtype=float)
        return Examples(self.encoding, self.matrix, values, self.sources, self.seed)

    @property
    def matrix(self) -> Genes:
        """The rows [n, decisions] that it has learned from."""
        rows = [row for row, _ in self._known.values()]
        return np.array(rows, dtype=np.int64).reshape(len(rows), len(self.encoding.sizes))

    def fitted(self, examples: Examples) -> Model:
        """A model of some examples: the predictor's, or the plain table where they are too few for it."""
        enough = len(examples) >= self.predictor.needed(self.encoding)
        return (self.predictor if enough else LatencyTable()).fit(examples)

    def predict(self, matrix: Genes) -> Prediction:
        """Values of canonical rows: [n, decisions] -> [n] and [n]."""
        return self.model.predict(matrix)

    def interval(self, matrix: Genes, level: float | None = None) -> tuple[Floats, Floats]:
        """Lower and upper ends [n] of the values."""
        return self.model.interval(matrix, self.level if level is None else level)

    def arrays(self) -> Arrays:
        """Those of the fitted model."""
        return self.model.arrays()
