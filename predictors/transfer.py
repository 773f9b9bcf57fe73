"""A new device from ten or twenty measurements and the models of other devices.

Latencies on two devices are nearly functions of each other where the devices are kin (OneProxy, arXiv:2111.01203).
Which sources are kin has to be found from few examples (HELP, arXiv:2106.08630, meta-learns how), and amounts of work
explain some of what kinship leaves open. Here that is Bayesian averaging over linear models, each anchored in one
source: see `predictors/_mixture.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from predictors._arrays import inner, nested
from predictors._latent import LatentModel, Target
from predictors._mixture import Linear, fit
from predictors._role import Arrays, Examples, Predictor
from predictors._sources import Sources
from predictors.encodings._role import Encoding, Floats, Genes


class Transfer(Predictor):
    """A new device from 10 to 20 measurements: models of other devices and physical amounts, weighted by evidence."""

    def needed(self, encoding: Encoding) -> int:
        """Four: the prior does much of the work."""
        return 4

    def fit(self, examples: Examples) -> TransferModel:
        """A model with the sources inside. Without sources the physical amounts take their place."""
        self.check(examples)
        logarithmic, values = self.target == "log", examples.values
        scaled = np.log(values) if logarithmic else values
        least = float(values.min() / 10) if logarithmic else -np.inf
        target = Target(logarithmic, 0.0, float(scaled.mean()), float(scaled.std()) or 1.0, least)
        columns = Columns.of(examples, logarithmic)
        x = columns(examples.matrix)
        groups = [group for group in np.split(x, columns.bounds, axis=1) if group.shape[1]]
        return TransferModel(self, target, columns, fit(groups, _anchors(groups[0], x.shape[1]), target.latent(values)))

    def restore(self, encoding: Encoding, arrays: Arrays) -> TransferModel:
        """The model of these arrays."""
        target, linear = Target.restore(inner("target", arrays)), Linear.restore(inner("linear", arrays))
        return TransferModel(self, target, Columns.restore(encoding, inner("columns", arrays)), linear)


@dataclass(frozen=True)
class Columns:
    """What the regression sees of a row: sources' predictions, physics, features, each column standardized.

    Attributes:
        logarithmic: whether sources and physics are.
        typical: amount of each physical quantity [p].
        centres: of the columns before they are standardized [c].
        scales: of these, infinite for those that did not vary among the examples [c].
    """

    encoding: Encoding
    sources: Sources
    logarithmic: bool
    typical: Floats
    centres: Floats
    scales: Floats

    @classmethod
    def of(cls, examples: Examples, logarithmic: bool) -> Self:
        """Those for these examples: sources and physics have unit variance, features unit range."""
        encoding = examples.encoding
        sources = Sources.of(examples.sources, encoding, logarithmic, examples.seed)
        amounts = encoding.physics(examples.matrix).mean(axis=0)
        typical = np.where(amounts > 0, amounts, 1.0)
        raw = cls(encoding, sources, logarithmic, typical, np.zeros(()), np.ones(())).groups(examples.matrix)
        known = [np.where(np.isnan(group).all(axis=0), 0.0, group) for group in raw]
        centres = np.concatenate([np.nanmean(group, axis=0) for group in known])
        scales = np.concatenate([*(np.nanstd(group, axis=0) for group in known[:-1]), np.ptp(known[-1], axis=0)])
        varies = scales > 1e-6 * np.maximum(np.abs(centres), 1e-6)
        return cls(encoding, sources, logarithmic, typical, centres, np.where(varies, scales, np.inf))

    def groups(self, matrix: Genes) -> list[Floats]:
        """Sources, physics, features as they are: [n, decisions] -> [n, columns] each, NaN where a source is silent."""
        amounts = self.encoding.physics(matrix) / self.typical
        features = np.asarray(self.encoding.features(matrix), dtype=np.float64)
        return [
            self.sources.predict(matrix),
            np.log1p(amounts) if self.logarithmic else amounts,
            features,
        ]

    def __call__(self, matrix: Genes) -> Floats:
        """All columns, 0 (the examples' mean) where a source is silent: [n, decisions] -> [n, columns]."""
        return np.nan_to_num((np.concatenate(self.groups(matrix), axis=1) - self.centres) / self.scales)

    @property
    def bounds(self) -> tuple[int, int]:
        """Where physics and features begin among the columns."""
        return len(self.sources), len(self.sources) + len(self.typical)

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Scales and sources."""
        own = {"logarithmic": np.asarray(self.logarithmic), "typical": self.typical}
        return own | {"centres": self.centres, "scales": self.scales} | nested("sources", self.sources.arrays())

    @classmethod
    def restore(cls, encoding: Encoding, arrays: Arrays) -> Self:
        """From `arrays()`."""
        scales = [np.asarray(arrays[name], dtype=float) for name in ("typical", "centres", "scales")]
        logarithmic = bool(arrays["logarithmic"])
        return cls(encoding, Sources.restore(encoding, logarithmic, inner("sources", arrays)), logarithmic, *scales)


class TransferModel(LatentModel):
    """A linear model of sources, physics and features."""

    def __init__(self, predictor: Transfer, target: Target, columns: Columns, linear: Linear) -> None:
        super().__init__(columns.encoding, target)
        self.predictor, self.columns, self.linear = predictor, columns, linear

    def latent(self, matrix: Genes) -> tuple[Floats, Floats]:
        """The moments of the average of all linear models."""
        return self.linear.predict(self.columns(matrix))

    def arrays(self) -> Arrays:
        """Target, columns with every source, and the linear model."""
        parts = nested("target", self.target.arrays()) | nested("columns", self.columns.arrays())
        return parts | nested("linear", self.linear.arrays())


def _anchors(first: Floats, columns: int) -> Floats:
    """Each column of the first group [n, c], and their mean at unit variance: [c + 1, columns]."""
    count = first.shape[1]
    spread = float(first.mean(axis=1).std())
    mean = np.full(count, 1 / (count * spread) if spread > 0 else 0.0)
    found = np.zeros((count + 1, columns))
    found[:, :count] = np.vstack([np.eye(count), mean])
    return found
