"""Predictor: what a network would cost, without building it."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt

from searchspaces.space import Genes


class Predictor(ABC):
    """A learned or tabulated cost over the architectures of one space."""

    @abstractmethod
    def predict(self, matrix: Genes) -> npt.NDArray[np.float64]:
        """The predicted value of each canonical row: [n, decisions] -> [n]."""
