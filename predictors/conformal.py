"""Intervals that cover, around any predictor: jackknife+ and CV+.

Barber, Candès, Ramdas, Tibshirani 2021, "Predictive inference with the jackknife+", Annals of Statistics 49(1):
equation 1.3 for as many folds as examples, section 3 for fewer. With exchangeable examples an interval of level 1 - a
covers with a probability of at least 1 - 2a (theorem 1; theorem 4 for folds), and in practice of about 1 - a.
Residuals are divided by the nested predictor's own deviations as in Lei et al. 2018, "Distribution-free predictive
inference for regression" (section 5.2), so that intervals are wide where the predictor is unsure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy.stats import t as student

from predictors._arrays import inner, nested, number
from predictors._role import Arrays, Examples, Model, Prediction, Predictor
from predictors.encodings._role import Encoding, Floats, Genes
from predictors.transfer import Transfer

_ROWS = 2048
"""Rows for which all ends are held at once."""
_TINY = 1e-300


class Conformal(Predictor):
    """Intervals with coverage around any predictor: jackknife+, or CV+ over folds."""

    base: Annotated[Predictor, Field(description="learns this part's target, whatever its own says")] = Transfer()
    folds: Annotated[int, Field(ge=2, description="of CV+; jackknife+ where there are no more examples")] = 10
    normalize: Annotated[bool, Field(description="wider where the predictor is less sure, not equally wide")] = True

    def needed(self, encoding: Encoding) -> int:
        """As many as leave the nested predictor what it needs when a fold is missing."""
        least = max(self.nested.needed(encoding), 2)
        return next(n for n in range(least, 3 * least + 2) if n - -(-n // min(self.folds, n)) >= least)

    def fit(self, examples: Examples) -> ConformalModel:
        """Fits the nested predictor once on all examples, and once without each fold."""
        self.check(examples)
        count = min(self.folds, len(examples))
        fold = np.random.default_rng(examples.seed).permutation(np.arange(len(examples)) % count)
        parts = tuple(self.nested.fit(examples.subset(fold != part)) for part in range(count))
        mean, std = np.empty(len(examples)), np.empty(len(examples))
        for part, model in enumerate(parts):
            unseen = fold == part
            mean[unseen], std[unseen] = self.scaled(model.predict(examples.matrix[unseen]))
        known = np.isfinite(mean)
        values = np.log(examples.values) if self.target == "log" else examples.values
        usual = max(float(np.mean(std[known] ** 2)), _TINY)
        scores = np.abs(values - mean)[known] / self.unit(std[known], usual)
        return ConformalModel(self, self.nested.fit(examples), parts, fold[known], scores, usual)

    def restore(self, encoding: Encoding, arrays: Arrays) -> ConformalModel:
        """The model of these arrays."""
        names = ["whole", *(f"part{part}" for part in range(int(number(arrays, "parts"))))]
        whole, *parts = (self.nested.restore(encoding, inner(name, arrays)) for name in names)
        fold, scores = np.asarray(arrays["fold"], dtype=np.int64), np.asarray(arrays["scores"], dtype=float)
        return ConformalModel(self, whole, tuple(parts), fold, scores, number(arrays, "usual"))

    @property
    def nested(self) -> Predictor:
        """The nested predictor with this part's target."""
        return self.base.model_copy(update={"target": self.target})

    def scaled(self, found: Prediction) -> tuple[Floats, Floats]:
        """Mean and deviation on the scale of the target, those of a log-normal for logarithms: [n] and [n]."""
        if self.target == "linear":
            return found.mean, found.std
        finite = np.isfinite(found.mean)
        share = np.where(finite, found.std, 0.0) / np.maximum(np.where(finite, found.mean, 1.0), _TINY)
        return np.log(np.maximum(found.mean, _TINY)), np.sqrt(np.log1p(share**2))

    def unit(self, std: Floats, usual: float) -> Floats:
        """What residuals are measured in: the deviation [n], tempered by the usual variance, or 1."""
        return np.sqrt(std**2 + usual) if self.normalize else np.ones_like(std)


@dataclass(frozen=True)
class ConformalModel(Model):
    """A model of all examples, and one without each fold.

    Attributes:
        whole: fitted on all examples.
        parts: without each fold.
        fold: of each example [n].
        scores: |value - mean| / unit of each example, by the model that has not seen it [n].
        usual: mean variance of these predictions.
    """

    predictor: Conformal
    whole: Model
    parts: tuple[Model, ...]
    fold: npt.NDArray[np.int64]
    scores: Floats
    usual: float

    def predict(self, matrix: Genes) -> Prediction:
        """What the nested predictor says that has seen all examples."""
        return self.whole.predict(matrix)

    def interval(self, matrix: Genes, level: float = 0.9) -> tuple[Floats, Floats]:
        """The ends of jackknife+ or CV+, infinite where a row cannot be run.

        Raises:
            ValueError: the level is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise ValueError(f"a level lies between 0 and 1, not {level}")
        chunks = [self._ends(matrix[at : at + _ROWS], level) for at in range(0, max(len(matrix), 1), _ROWS)]
        lower, upper = (np.concatenate(ends) for ends in zip(*chunks, strict=True))
        return lower, upper

    def _ends(self, matrix: Genes, level: float) -> tuple[Floats, Floats]:
        """The quantiles over all examples of mean - unit x score, and of mean + unit x score."""
        said = [self.predictor.scaled(part.predict(matrix)) for part in self.parts]
        mean, std = (np.stack(moments, axis=1) for moments in zip(*said, strict=True))
        runs = np.isfinite(mean).all(axis=1)
        centre = np.where(runs[:, None], mean, 0.0)[:, self.fold]
        reach = self.predictor.unit(std, self.usual)[:, self.fold] * self.scores * stretch(len(self.scores), level)
        ends = -quantile(reach - centre, level), quantile(centre + reach, level)
        values = [np.exp(np.minimum(end, 700.0)) if self.predictor.target == "log" else end for end in ends]
        return np.where(runs, values[0], np.inf), np.where(runs, values[1], np.inf)

    def arrays(self) -> Arrays:
        """Every nested model, folds and scores."""
        found: dict[str, npt.NDArray[np.generic]] = {"fold": self.fold, "scores": self.scores}
        found |= {"usual": np.asarray(self.usual), "parts": np.asarray(len(self.parts))}
        for part, model in enumerate(self.parts):
            found |= nested(f"part{part}", model.arrays())
        return found | nested("whole", self.whole.arrays())


def quantile(ends: Floats, level: float) -> Floats:
    """The level (n + 1)-th smallest of each row, between two of them by interpolation: [rows, n] -> [rows].

    The paper rounds up, which adds up to 1 / (n + 1) to the coverage. Here it is kept at the level on average: an
    exchangeable value lies below the k-th of n with probability k / (n + 1), and in between about linearly.
    """
    n = ends.shape[1]
    at = min(level * (n + 1), n) - 1
    below = max(int(np.floor(at + 1e-9)), 0)
    above = min(below + 1, n - 1)
    ordered = np.partition(ends, (below, above), axis=1)
    return ordered[:, below] + max(at - below, 0.0) * (ordered[:, above] - ordered[:, below])


def stretch(n: int, level: float) -> float:
    """A factor on n scores where they are too few for the level: 1 for level <= n / (n + 1), so for 90 % from nine on.

    The paper's interval is infinite there. An assumption is needed to say more: that scores are as large as Student's t
    with n - 1 degrees of freedom, of which the largest one holds the level n / (n + 1).
    """
    reached = n / (n + 1)
    if level <= reached or n < 2:
        return 1.0
    ratio = student.ppf((1 + level) / 2, n - 1) / student.ppf((1 + reached) / 2, n - 1)
    return float(ratio)
