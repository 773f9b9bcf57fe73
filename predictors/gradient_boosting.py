"""Gradient-boosted regression trees (Friedman 2001), by scikit-learn's histograms."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from predictors._arrays import inner, nested, number
from predictors._latent import LatentModel, Target
from predictors._role import Arrays, Examples, Predictor
from predictors._trees import LEAVES, Trees
from predictors.encodings._role import Encoding, Floats, Genes

_LEAST = 1e-6


class GradientBoosting(Predictor):
    """Several boosted ensembles, each fitted without a share of the examples, on which it is then judged.

    The mean is that of the ensembles. The variance is how far they disagree, and what they miss of examples that they
    have not seen beyond that.
    """

    members: Annotated[int, Field(ge=2)] = 4
    """Ensembles."""
    trees: Annotated[int, Field(ge=1)] = 64
    """Trees of each."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.15
    """How much of what is left each tree takes."""

    def fit(self, examples: Examples) -> GradientBoostingModel:
        """A model of plain arrays, which scikit-learn is not needed for any more."""
        from sklearn.ensemble import HistGradientBoostingRegressor

        self.check(examples)
        target = Target.of(self.target, examples)
        features, latent = examples.encoding.features(examples.matrix), target.latent(examples.values)
        share = np.random.default_rng(examples.seed).permutation(len(latent)) % self.members
        forests = [
            HistGradientBoostingRegressor(
                max_iter=self.trees,
                learning_rate=self.learning_rate,
                max_leaf_nodes=LEAVES,
                min_samples_leaf=int(np.clip(len(latent) // 40, 2, 20)),
                early_stopping=False,
                random_state=examples.seed + member,
            ).fit(features[share != member], latent[share != member])
            for member in range(self.members)
        ]
        starts = np.array([float(forest._baseline_prediction.squeeze()) for forest in forests])
        model = GradientBoostingModel(examples.encoding, target, Trees.of(forests), starts, 0.0)
        model.noise = _unexplained(model.members(features), latent, share)
        return model

    def restore(self, encoding: Encoding, arrays: Arrays) -> GradientBoostingModel:
        """The model of these arrays."""
        target, trees = Target.restore(inner("target", arrays)), Trees.restore(inner("trees", arrays))
        starts = np.asarray(arrays["starts"], dtype=float)
        return GradientBoostingModel(encoding, target, trees, starts, number(arrays, "noise"))


class GradientBoostingModel(LatentModel):
    """Ensembles of equally many trees, each with its start value; `noise` is the variance beyond their disagreement."""

    def __init__(self, encoding: Encoding, target: Target, trees: Trees, starts: Floats, noise: float) -> None:
        super().__init__(encoding, target)
        self.trees, self.starts, self.noise = trees, starts, noise

    def latent(self, matrix: Genes) -> tuple[Floats, Floats]:
        """Mean over the members; their variance and the noise."""
        found = self.members(self.encoding.features(matrix))
        return found.mean(axis=1), found.var(axis=1, ddof=1) + self.noise

    def members(self, features: npt.NDArray[np.float32]) -> Floats:
        """The latent value by each member: [n, f] -> [n, members]."""
        each, count = self.trees(features), len(self.starts)
        sums = np.repeat(np.eye(count, dtype=np.float32), each.shape[1] // count, axis=0)
        return np.asarray(each @ sums + self.starts)

    def arrays(self) -> Arrays:
        """Target, trees, start values and noise."""
        parts = nested("target", self.target.arrays()) | nested("trees", self.trees.arrays())
        return parts | {"starts": self.starts, "noise": np.asarray(self.noise)}


def _unexplained(found: Floats, latent: Floats, share: npt.NDArray[np.int64]) -> float:
    """What the members' errors on their unseen shares leave after their disagreement; at least a tenth of the errors.

    Args:
        found: [n, members].
        latent: [n].
        share: [n], the member that has not seen the example.
    """
    unseen = found[np.arange(len(latent)), share]
    error = float(np.mean((unseen - latent) ** 2))
    return max(error - float(found.var(axis=1, ddof=1).mean()), error / 10, _LEAST)
