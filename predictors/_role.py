"""Predictor: learns what a network costs or is worth from examples, without building it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy.special import ndtri

from predictors.encodings._role import Encoding, Floats, Genes
from searchspaces.part import Part

Arrays = Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class Prediction:
    """Predicted values [n] and their standard deviations [n], in the unit of the values."""

    mean: Floats
    std: Floats


class Model(ABC):
    """A fitted predictor of one space."""

    @abstractmethod
    def predict(self, matrix: Genes) -> Prediction:
        """The value of each canonical row: [n, decisions] -> [n] and [n]. Infinite where a row cannot be run."""

    @abstractmethod
    def arrays(self) -> Arrays:
        """All that `Predictor.restore` needs, as plain arrays."""

    def interval(self, matrix: Genes, level: float = 0.9) -> tuple[Floats, Floats]:
        """The lower and upper end [n] within which a value lies with this probability; here that of a Gaussian."""
        found, reach = self.predict(matrix), float(ndtri((1 + level) / 2))
        return found.mean - reach * found.std, found.mean + reach * found.std


@dataclass(frozen=True)
class Examples:
    """What a predictor learns from.

    Attributes:
        encoding: of the space.
        matrix: [n, decisions], canonical rows.
        values: [n], finite: milliseconds, bytes, millijoules, or an error.
        sources: fitted models of other devices on the same space, for `transfer`.
        seed: of everything random in the fit.
    """

    encoding: Encoding
    matrix: Genes
    values: Floats
    sources: tuple[Model, ...] = ()
    seed: int = 0

    def __len__(self) -> int:
        return len(self.values)

    def subset(self, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Examples:
        """Those at the given numbers, or where a mask holds."""
        return replace(self, matrix=self.matrix[rows], values=self.values[rows])


class Predictor(Part, ABC):
    """A method of prediction with its settings; `fit` gives a model."""

    target: Annotated[
        Literal["log", "linear"], Field(description="learn ratios of positive values, or differences")
    ] = "log"

    @abstractmethod
    def fit(self, examples: Examples) -> Model:
        """A model of the examples.

        Raises:
            ValueError: there are too few examples, or values that the target does not admit.
        """

    @abstractmethod
    def restore(self, encoding: Encoding, arrays: Arrays) -> Model:
        """The model whose `arrays()` these are."""
