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
FEWEST = 8
"""Examples that a regression needs at least."""


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

    @classmethod
    def none(cls, encoding: Encoding) -> Examples:
        """No examples: for predictors that know something without."""
        return cls(encoding, np.zeros((0, len(encoding.sizes)), dtype=np.int64), np.zeros(0))

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
        """A model of the examples; equal examples give equal models.

        Raises:
            ValueError: there are too few examples, or values that the target does not admit.
        """

    def needed(self, encoding: Encoding) -> int:
        """The least number of examples."""
        return FEWEST

    def check(self, examples: Examples) -> None:
        """Raises the `ValueError`s of `fit`."""
        needed, kind = self.needed(examples.encoding), self.kind()
        if len(examples) < needed:
            raise ValueError(f"{kind} needs at least {needed} examples, there are {len(examples)}")
        if examples.values.shape != (len(examples.matrix),) or not np.isfinite(examples.values).all():
            raise ValueError(f"{kind} needs one finite value for each row")
        if self.target == "log" and (examples.values <= 0).any():
            raise ValueError(f"{kind} learns logarithms and needs positive values; for others set target: linear")
        examples.encoding.check(examples.matrix)

    @abstractmethod
    def restore(self, encoding: Encoding, arrays: Arrays) -> Model:
        """The model whose `arrays()` these are."""
