"""A physical estimate times a learned correction: what adds up is known beforehand, what does not is learned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from predictors._arrays import inner, nested
from predictors._latent import relative_weights
from predictors._role import Arrays, Examples, Model, Prediction, Predictor
from predictors.encodings._role import Encoding, Floats, Genes
from predictors.gaussian_process import GaussianProcess
from predictors.latency_table import LatencyTable, LatencyTableModel


class AdditiveResidual(Predictor):
    """additive x exp(residual): the latency table where one was measured, else non-negative least squares on physics.

    The residual predictor learns the ratio of the values to the additive part, on the logarithm.
    """

    residual: Predictor = GaussianProcess()

    def needed(self, encoding: Encoding) -> int:
        """What the residual needs."""
        return self.residual.needed(encoding)

    def fit(self, examples: Examples) -> AdditiveResidualModel:
        """A model whose deviations are those of the correction."""
        self.check(examples)
        if (examples.values <= 0).any():
            raise ValueError(f"{self.kind()} learns ratios and needs positive values")
        additive = self._additive(examples)
        base = additive.predict(examples.matrix).mean
        known = np.isfinite(base)
        if not known.all():
            examples, base = examples.subset(known), base[known]
        ratios = replace(examples, values=examples.values / base)
        return AdditiveResidualModel(additive, self.residual.fit(ratios))

    def restore(self, encoding: Encoding, arrays: Arrays) -> AdditiveResidualModel:
        """The model of these arrays."""
        own = inner("additive", arrays)
        additive: Model = Physics.restore(encoding, own) if "rates" in own else LatencyTable().restore(encoding, own)
        return AdditiveResidualModel(additive, self.residual.restore(encoding, inner("residual", arrays)))

    def _additive(self, examples: Examples) -> LatencyTableModel | Physics:
        if examples.encoding.contributions is not None:
            return LatencyTable().fit(examples)
        return Physics.of(examples)


class AdditiveResidualModel(Model):
    """The product of an additive model and a model of the ratio to it."""

    def __init__(self, additive: Model, residual: Model) -> None:
        self.additive, self.residual = additive, residual

    def predict(self, matrix: Genes) -> Prediction:
        """The products of both: [n, decisions] -> [n] and [n]."""
        base, ratio = self.additive.predict(matrix).mean, self.residual.predict(matrix)
        return Prediction(base * ratio.mean, np.where(np.isfinite(base), base, 1.0) * ratio.std)

    def interval(self, matrix: Genes, level: float = 0.9) -> tuple[Floats, Floats]:
        """The interval of the ratio times the additive part."""
        base, (low, high) = self.additive.predict(matrix).mean, self.residual.interval(matrix, level)
        return base * low, base * high

    def arrays(self) -> Arrays:
        """Those of both."""
        return nested("additive", self.additive.arrays()) | nested("residual", self.residual.arrays())


class Physics(Model):
    """A rate for each physical amount and a constant, none of them negative; never below a tenth of the least example.

    It has no deviation of its own: only the product with a correction is a prediction.
    """

    def __init__(self, encoding: Encoding, rates: Floats, least: float) -> None:
        self.encoding, self.rates, self.least = encoding, rates, least

    @classmethod
    def of(cls, examples: Examples) -> Physics:
        """The rates of least squared error, weighted as `log` does (Lawson and Hanson 1974, chapter 23)."""
        amounts = _with_constant(examples.encoding.physics(examples.matrix))
        scale, weights = np.maximum(amounts.max(axis=0), 1e-300), relative_weights(examples)
        basis = amounts / scale * weights[:, None]
        rates, _ = nnls(basis, examples.values * weights, maxiter=30 * len(scale) + 30)
        return cls(examples.encoding, rates / scale, float(examples.values.min()) / 10)

    def predict(self, matrix: Genes) -> Prediction:
        """The sum of the amounts, each at its rate."""
        found = np.maximum(self.encoding.physics(matrix) @ self.rates[:-1] + self.rates[-1], self.least)
        return Prediction(found, np.zeros(len(found)))

    def arrays(self) -> Arrays:
        """The rates and the bound."""
        return {"rates": self.rates, "least": np.asarray(self.least)}

    @classmethod
    def restore(cls, encoding: Encoding, arrays: Arrays) -> Physics:
        """From `arrays()`."""
        least = float(np.asarray(arrays["least"], dtype=float))
        return cls(encoding, np.asarray(arrays["rates"], dtype=float), least)


def _with_constant(amounts: Floats) -> npt.NDArray[np.float64]:
    return np.concatenate([amounts, np.ones((len(amounts), 1))], axis=1)
