"""Latency as a sum over blocks, as FBNet (arXiv:1812.03443, equation 2) and ProxylessNAS (arXiv:1812.00332) have it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hardware.profile import Profile
from predictors._role import Predictor
from searchspaces.placements import Placements
from searchspaces.space import Genes


class LatencyTable(Predictor):
    """overhead + sum of the measured contributions of a network's blocks, in milliseconds."""

    def __init__(self, placements: Placements, profile: Profile) -> None:
        self.placements = placements
        self.overhead_ms = profile.overhead_ms(placements.space.input_shape)
        self.contributions_ms = np.append(profile.contributions_ms(placements.units), 0.0)

    def predict(self, matrix: Genes) -> npt.NDArray[np.float64]:
        """Latency in milliseconds: [n, decisions] -> [n]."""
        return self.overhead_ms + self.contributions_ms[self.placements.of(matrix)].sum(axis=1)
