"""Latency as a sum over blocks, as FBNet (arXiv:1812.03443, equation 2) and ProxylessNAS (arXiv:1812.00332) have it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import ndtri

from predictors._arrays import number
from predictors._latent import relative_weights
from predictors._regression import cross_validated
from predictors._role import Arrays, Examples, Model, Prediction, Predictor
from predictors.encodings._role import Encoding, Floats, Genes

_USUAL = 0.1
"""How far additive models are off, until examples tell: counts like one of them."""
_QUANTILE = 0.8
"""Of the errors: a few that are far off do not count."""
_ROWS = 4096


class LatencyTable(Predictor):
    """overhead + scale x sum of the contributions of a network's tokens.

    Where a table was measured, the scale is the median ratio of the examples to it: blocks measured among their like
    add up to less than a network of different blocks takes. It is 1 without examples. Where there is no table, it is
    learned: contributions of at least 0 by ridge regression about equal ones.
    """

    def fit(self, examples: Examples) -> LatencyTableModel:
        """The measured table with its scale, or a learned one."""
        self.check(examples)
        table = examples.encoding.contributions
        if table is None:
            overhead, values = _learned(examples, self._weights(examples))
            model = LatencyTableModel(examples.encoding, overhead, values, 1.0, _USUAL)
        else:
            model = LatencyTableModel(examples.encoding, table.overhead, table.values, 1.0, _USUAL)
            model.scale = _scale(model.sums(examples.matrix), examples.values - table.overhead)
        fitted = len(np.unique(examples.encoding.tokens(examples.matrix))) if table is None else 1
        model.relative_std = _relative_std(model.predict(examples.matrix).mean, examples.values, fitted)
        return model

    def needed(self, encoding: Encoding) -> int:
        """None where there is a table."""
        return super().needed(encoding) if encoding.contributions is None else 0

    def restore(self, encoding: Encoding, arrays: Arrays) -> LatencyTableModel:
        """The model of these arrays."""
        values = np.asarray(arrays["values"], dtype=float)
        numbers = [number(arrays, key) for key in ("overhead", "scale", "relative_std")]
        return LatencyTableModel(encoding, numbers[0], values, numbers[1], numbers[2])

    def _weights(self, examples: Examples) -> Floats:
        """What each example counts: relative errors for the target `log`."""
        return relative_weights(examples) if self.target == "log" else np.ones(len(examples))


class LatencyTableModel(Model):
    """A table of the tokens' contributions; a row's deviation is a share of its value."""

    def __init__(self, encoding: Encoding, overhead: float, values: Floats, scale: float, relative_std: float) -> None:
        self.encoding, self.overhead, self.values, self.scale = encoding, overhead, values, scale
        self.relative_std = relative_std

    def predict(self, matrix: Genes) -> Prediction:
        """Overhead and scaled sums of canonical rows: [n, decisions] -> [n] and [n]."""
        mean = self.overhead + self.scale * self.sums(matrix)
        return Prediction(mean, self.relative_std * np.where(np.isfinite(mean), np.maximum(np.abs(mean), 1e-12), 1.0))

    def sums(self, matrix: Genes) -> Floats:
        """The sum of the contributions of each row's tokens: [n, decisions] -> [n]."""
        self.encoding.check(matrix)
        values = np.append(self.values, 0.0)
        found = np.empty(len(matrix))
        for start in range(0, len(matrix), _ROWS):
            rows = slice(start, start + _ROWS)
            values.take(self.encoding.tokens(matrix[rows])).sum(axis=1, out=found[rows])
        return found

    def arrays(self) -> Arrays:
        """The table, its scale and deviation."""
        numbers = {"overhead": self.overhead, "scale": self.scale, "relative_std": self.relative_std}
        return {"values": self.values, **{name: np.asarray(value) for name, value in numbers.items()}}


def _scale(sums: Floats, values: Floats) -> float:
    """The median ratio of values to sums, at least 0; 1 where there is none."""
    known = (sums > 0) & np.isfinite(sums)
    return max(float(np.median(values[known] / sums[known])), 0.0) if known.any() else 1.0


def _relative_std(predicted: Floats, values: Floats, fitted: int) -> float:
    """The deviation whose Gaussian has the errors' quantile, with the usual one as an example more.

    Args:
        predicted: [n].
        values: [n].
        fitted: numbers that were fitted to these values, by which errors appear smaller than they are.
    """
    known = np.isfinite(predicted) & (values != 0)
    count = int(known.sum())
    if not count:
        return _USUAL
    quantile = float(np.quantile(np.abs(predicted[known] / values[known] - 1), _QUANTILE))
    found = quantile / float(ndtri((1 + _QUANTILE) / 2)) / max(1 - fitted / count, 0.1)
    return float(np.sqrt((_USUAL**2 + count * found**2) / (1 + count)))


def _learned(examples: Examples, weights: Floats) -> tuple[float, Floats]:
    """Overhead and contributions of least weighted squared error, shrunk towards equal contributions.

    The strength is that of the regression without bounds, by generalized cross-validation.
    """
    counts = _counts(examples)
    used = np.flatnonzero(counts.any(axis=0))
    equal = float(np.median(examples.values)) / max(float(counts.sum(axis=1).mean()), 1.0) / 2
    basis = np.concatenate([np.ones((len(counts), 1)), counts[:, used]], axis=1) * weights[:, None]
    aim = examples.values * weights
    centred = basis[:, 1:] - basis[:, 1:].mean(axis=0)
    strength = float(cross_validated(centred, (aim - aim.mean())[:, None])[0][0])
    penalty = np.append(1e-9 * strength, np.full(len(used), strength))
    start = np.append(float(examples.values.min()) / 2, np.full(len(used), equal))
    found = _least_squares(basis, aim, penalty, start)
    values: Floats = np.full(examples.encoding.vocabulary, equal)
    values[used] = found[1:]
    return float(found[0]), values


def _least_squares(basis: Floats, aim: Floats, penalty: Floats, centre: Floats) -> Floats:
    """The x >= 0 of least |basis x - aim|^2 + penalty (x - centre)^2, by projected quasi-Newton steps."""
    gram, pulled = basis.T @ basis + np.diag(penalty), basis.T @ aim + penalty * centre
    scale = 1 / np.sqrt(np.maximum(np.diag(gram), 1e-300))
    gram, pulled = gram * scale[:, None] * scale, pulled * scale

    def energy(x: Floats) -> tuple[float, Floats]:
        slope = gram @ x - pulled
        return float(x @ (slope - pulled) / 2), slope

    bounds = [(0.0, None)] * len(centre)
    options = {"maxiter": 2000, "ftol": 1e-14, "gtol": 1e-10}
    found = minimize(energy, centre / scale, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    return np.asarray(found * scale)


def _counts(examples: Examples) -> npt.NDArray[np.float64]:
    """How often each row has each token: [n, vocabulary]."""
    tokens, width = examples.encoding.tokens(examples.matrix), examples.encoding.vocabulary
    rows, places = np.nonzero(tokens >= 0)
    flat = np.bincount(rows * width + tokens[rows, places], minlength=len(tokens) * width)
    return flat.reshape(len(tokens), width).astype(float)
