"""Target: the scale on which a regression learns a value, and the models that predict there."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from predictors._arrays import number
from predictors._regression import Standard, cross_validated
from predictors._role import Arrays, Examples, Model, Prediction
from predictors.encodings._role import Encoding, Floats, Genes

_SHIFTS = (0.0, 0.1, 0.3, 1.0, 3.0)
"""Shifts that are tried, over the median."""
_ENOUGH = 30
"""With fewer examples nothing is shifted."""
_ROWS = 4096
"""Rows that are predicted at once, so that what is between fits a cache."""


@dataclass(frozen=True)
class Target:
    """latent = (log(value + shift) - centre) / spread, or without logarithm and shift.

    The shift is that of greatest likelihood under a ridge regression (Box and Cox 1964, equation 2): 0 where features
    act by ratios, large where they add up or where a few tiny values would rule the logarithms.
    """

    logarithmic: bool
    shift: float
    centre: float
    spread: float
    least: float

    @classmethod
    def of(cls, form: str, examples: Examples) -> Target:
        """The target of the form `log` or `linear` for these examples."""
        values = examples.values
        shift = _likeliest_shift(examples) if form == "log" and len(values) >= _ENOUGH else 0.0
        scaled = np.log(values + shift) if form == "log" else values
        least = float(values.min() / 10) if form == "log" else -np.inf
        return cls(form == "log", shift, float(scaled.mean()), float(scaled.std()) or 1.0, least)

    def latent(self, values: Floats) -> Floats:
        """Values -> centred values with unit variance."""
        scaled = np.log(values + self.shift) if self.logarithmic else values
        return (scaled - self.centre) / self.spread

    def value(self, latent: Floats) -> Floats:
        """The inverse of `latent`, and never below a tenth of the least example where that is positive."""
        scaled = self.centre + self.spread * latent
        if not self.logarithmic:
            return scaled
        return np.maximum(np.exp(np.minimum(scaled, 700.0)) - self.shift, self.least)

    def prediction(self, mean: Floats, variance: Floats) -> Prediction:
        """A latent Gaussian as a value: its median, and the standard deviation about it."""
        found, std = self.value(mean), self.spread * np.sqrt(variance)
        if self.logarithmic:
            std = (found + self.shift) * np.sqrt(np.expm1(np.minimum(std, 3.0) ** 2))
        return Prediction(found, std)

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """As plain arrays."""
        return {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def restore(cls, arrays: Arrays) -> Target:
        """From `arrays()`."""
        numbers = [number(arrays, field.name) for field in fields(cls)]
        return cls(bool(numbers[0]), *numbers[1:])


def relative_weights(examples: Examples) -> Floats:
    """1 / (value + shift): what turns errors of positive values into those of `log`, to first order: [n]."""
    return 1 / (examples.values + Target.of("log", examples).shift)


def _likeliest_shift(examples: Examples) -> float:
    """The shift of greatest profile likelihood: -n/2 log(noise) - sum log(value + shift)."""
    features = examples.encoding.features(examples.matrix)
    values = examples.values
    shifts = np.median(values) * np.array(_SHIFTS)
    logs = np.log(values[:, None] + shifts)
    _, noise = cross_validated(Standard.of(features)(features).astype(float), logs - logs.mean(axis=0))
    return float(shifts[np.argmax(-len(values) / 2 * np.log(noise) - logs.sum(axis=0))])


class LatentModel(Model):
    """A model that is Gaussian on the scale of its target."""

    at_once: ClassVar[int] = _ROWS

    def __init__(self, encoding: Encoding, target: Target) -> None:
        self.encoding, self.target = encoding, target

    @abstractmethod
    def latent(self, matrix: Genes) -> tuple[Floats, Floats]:
        """Mean and variance of the latent value of each row: [n, decisions] -> [n] and [n]."""

    def predict(self, matrix: Genes) -> Prediction:
        """The median and the standard deviation of each canonical row's value."""
        found = self.target.prediction(*self._latent(matrix))
        return Prediction(self._masked(matrix, found.mean), found.std)

    def interval(self, matrix: Genes, level: float = 0.9) -> tuple[Floats, Floats]:
        """The quantiles of the latent Gaussian, as values."""
        mean, variance = self._latent(matrix)
        reach = float(ndtri((1 + level) / 2)) * np.sqrt(variance)
        low, high = self.target.value(mean - reach), self.target.value(mean + reach)
        return self._masked(matrix, low), self._masked(matrix, high)

    def _latent(self, matrix: Genes) -> tuple[Floats, Floats]:
        """`latent`, a few rows at a time."""
        self.encoding.check(matrix)
        pieces = [self.latent(matrix[start : start + self.at_once]) for start in range(0, len(matrix), self.at_once)]
        if not pieces:
            return np.zeros(0), np.zeros(0)
        mean, variance = (np.concatenate(column) for column in zip(*pieces, strict=True))
        return mean, variance

    def _masked(self, matrix: Genes, values: Floats) -> Floats:
        """The values, infinite where a row cannot be run."""
        return np.where(self.encoding.runnable(matrix), values, np.inf)
