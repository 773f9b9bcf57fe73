"""Ridge regression on the encoding's features."""

from __future__ import annotations

import numpy as np

from predictors._arrays import inner, nested
from predictors._latent import LatentModel, Target
from predictors._regression import Posterior, Spectrum, Standard, cross_validated
from predictors._role import Arrays, Examples, Predictor
from predictors.encodings._role import Encoding, Floats, Genes


class Ridge(Predictor):
    """Linear regression with squared shrinkage, its strength by generalized cross-validation."""

    def fit(self, examples: Examples) -> RidgeModel:
        """A model whose deviations come from residuals and leverage."""
        self.check(examples)
        target = Target.of(self.target, examples)
        features = examples.encoding.features(examples.matrix)
        standard = Standard.of(features)
        basis, values = standard(features).astype(float), target.latent(examples.values)
        strength, noise = (float(found[0]) for found in cross_validated(basis, values[:, None]))
        scale = float(np.sqrt(noise / strength))
        posterior = Posterior.of(Spectrum.of(basis * scale, values), noise, rank=basis.shape[1])
        return RidgeModel(examples.encoding, target, standard, scale, posterior)

    def restore(self, encoding: Encoding, arrays: Arrays) -> RidgeModel:
        """The model of these arrays."""
        target, standard = Target.restore(inner("target", arrays)), Standard.restore(inner("standard", arrays))
        scale = float(np.asarray(arrays["scale"], dtype=float))
        return RidgeModel(encoding, target, standard, scale, Posterior.restore(inner("posterior", arrays)))


class RidgeModel(LatentModel):
    """A Gaussian posterior of weights on standardized features; `scale` is their prior deviation."""

    def __init__(
        self, encoding: Encoding, target: Target, standard: Standard, scale: float, posterior: Posterior
    ) -> None:
        super().__init__(encoding, target)
        self.standard, self.scale, self.posterior = standard, scale, posterior
        self._both = np.concatenate([posterior.directions, posterior.weights[:, None]], axis=1)
        self._both *= np.float32(scale)

    def latent(self, matrix: Genes) -> tuple[Floats, Floats]:
        """Mean and variance by the posterior."""
        inputs = self.standard(self.encoding.features(matrix))
        prior = np.einsum("ij,ij->i", inputs, inputs).astype(float) * self.scale**2
        found = inputs @ self._both
        known = np.square(found[:, :-1]) @ self.posterior.reduction
        return found[:, -1].astype(float), self.posterior.noise + np.maximum(prior - known, 0.0)

    def arrays(self) -> Arrays:
        """Target, standardization, scale and posterior."""
        parts = nested("target", self.target.arrays()) | nested("standard", self.standard.arrays())
        return parts | {"scale": np.asarray(self.scale)} | nested("posterior", self.posterior.arrays())
