"""The predictor that cross-validation finds best for the examples at hand."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from predictors._arrays import inner, nested
from predictors._role import Arrays, Examples, Model, Prediction, Predictor
from predictors.additive_residual import AdditiveResidual
from predictors.encodings._role import Encoding, Floats, Genes
from predictors.gaussian_process import GaussianProcess
from predictors.gradient_boosting import GradientBoosting
from predictors.latency_table import LatencyTable
from predictors.ridge import Ridge


class Auto(Predictor):
    """The candidate of least error on examples that it has not seen, fitted to all of them.

    Candidates choose their own settings within each fold. An error is the absolute difference of logarithms, or of
    values for the target `linear`; a candidate's score is the mean of its folds' medians; of equals the first is taken.
    """

    candidates: Annotated[tuple[Predictor, ...], Field(min_length=1)] = (
        AdditiveResidual(),
        GaussianProcess(),
        Ridge(),
        GradientBoosting(),
        LatencyTable(),
    )
    folds: Annotated[int, Field(ge=2)] = 4

    def needed(self, encoding: Encoding) -> int:
        """What one of the candidates needs without one fold."""
        least = min(candidate.needed(encoding) for candidate in self.candidates)
        return max(2 * self.folds, -(-least * self.folds // (self.folds - 1)))

    def fit(self, examples: Examples) -> AutoModel:
        """The best candidate's model, with every candidate's score."""
        self.check(examples)
        share = np.random.default_rng(examples.seed).permutation(len(examples)) % self.folds
        scores = np.array([self._score(candidate, examples, share) for candidate in self.candidates])
        if not np.isfinite(scores).any():
            raise ValueError(f"none of the candidates of {self.kind()} can learn from these examples")
        chosen = int(np.argmin(scores))
        kinds = [candidate.kind() for candidate in self.candidates]
        return AutoModel(self.candidates[chosen].fit(examples), chosen, kinds, scores)

    def restore(self, encoding: Encoding, arrays: Arrays) -> AutoModel:
        """The model of these arrays."""
        chosen, scores = int(np.asarray(arrays["chosen"], dtype=int)), np.asarray(arrays["scores"], dtype=float)
        model = self.candidates[chosen].restore(encoding, inner("model", arrays))
        return AutoModel(model, chosen, [candidate.kind() for candidate in self.candidates], scores)

    def _score(self, candidate: Predictor, examples: Examples, share: npt.NDArray[np.int64]) -> float:
        """The candidate's error, infinite where it cannot learn from these examples."""
        try:
            errors = [self._error(candidate, examples, share == fold) for fold in range(self.folds)]
        except ValueError as error:
            warnings.warn(f"{candidate.kind()}: {error}", stacklevel=2)
            return float(np.inf)
        return float(np.mean(errors))

    def _error(self, candidate: Predictor, examples: Examples, held_out: npt.NDArray[np.bool_]) -> float:
        """The median error on one fold."""
        unseen = examples.subset(held_out)
        found = candidate.fit(examples.subset(~held_out)).predict(unseen.matrix).mean
        if self.target == "linear":
            return float(np.median(np.abs(found - unseen.values)))
        return float(np.median(np.abs(np.log(np.maximum(found, 1e-300) / unseen.values))))


class AutoModel(Model):
    """The chosen candidate's model.

    Attributes:
        model: that predicts.
        chosen: the candidate's number.
        scores: error of each candidate, by kind.
    """

    def __init__(self, model: Model, chosen: int, kinds: list[str], scores: Floats) -> None:
        self.model, self.chosen, self._scores = model, chosen, scores
        self.scores: Mapping[str, float] = dict(zip(kinds, scores.tolist(), strict=True))

    def predict(self, matrix: Genes) -> Prediction:
        """What the chosen model predicts."""
        return self.model.predict(matrix)

    def interval(self, matrix: Genes, level: float = 0.9) -> tuple[Floats, Floats]:
        """That of the chosen model."""
        return self.model.interval(matrix, level)

    def arrays(self) -> Arrays:
        """The choice, the scores, and the chosen model's arrays."""
        return {"chosen": np.asarray(self.chosen), "scores": self._scores, **nested("model", self.model.arrays())}
