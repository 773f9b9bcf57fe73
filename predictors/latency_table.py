"""Latency as a sum over blocks, as FBNet (arXiv:1812.03443, equation 2) and ProxylessNAS (arXiv:1812.00332) have it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hardware.measurement import Measurement
from hardware.profile import Profile
from predictors._role import Predictor
from searchspaces.placements import Placements
from searchspaces.space import Genes


class LatencyTable(Predictor):
    """overhead + scale x sum of the measured contributions of a network's blocks, in milliseconds.

    Blocks measured among their like add up to less than a network of different blocks takes; `fit` learns the scale
    from a few whole networks. It is 1 before.
    """

    def __init__(self, placements: Placements, profile: Profile) -> None:
        self.placements = placements
        self.overhead_ms = profile.overhead_ms
        self.contributions_ms = np.append(profile.contributions_ms(placements.units), 0.0)
        self.scale = 1.0

    def fit(self, matrix: Genes, measurements: Sequence[Measurement]) -> None:
        """Sets the scale to the median ratio of measured to added up, over rows [n, decisions] that were measured."""
        sums = self._sums(matrix)
        pairs = [
            (m.milliseconds, added) for m, added in zip(measurements, sums, strict=True) if m.ok and 0 < added < np.inf
        ]
        ratios = [(measured - self.overhead_ms) / added for measured, added in pairs]
        self.scale = max(float(np.median(ratios)), 0.0) if ratios else 1.0

    def predict(self, matrix: Genes) -> npt.NDArray[np.float64]:
        """Latency in milliseconds: [n, decisions] -> [n]."""
        return self.overhead_ms + self.scale * self._sums(matrix)

    def _sums(self, matrix: Genes) -> npt.NDArray[np.float64]:
        return self.contributions_ms[self.placements.of(matrix)].sum(axis=1)
