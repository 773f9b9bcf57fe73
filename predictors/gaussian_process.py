"""Gaussian-process regression (Rasmussen and Williams 2006) that predicts as fast as a search asks."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field
from scipy.optimize import minimize_scalar

from predictors._arrays import inner, nested
from predictors._basis import Basis
from predictors._kernel import learned
from predictors._latent import LatentModel, Target
from predictors._regression import Posterior, Spectrum, Standard
from predictors._role import Arrays, Examples, Predictor
from predictors.encodings._role import Encoding, Floats, Genes


class GaussianProcess(Predictor):
    """A linear trend and a smooth departure from it, on features whose relevance is learned.

    The departure is represented by inducing examples (Nystroem; Quinonero-Candela and Rasmussen 2005, section 6: FITC
    in its predictions), exactly where there are no more examples than these.
    """

    inducing: Annotated[int, Field(ge=1)] = 256
    """Inducing examples at most."""
    optimized: Annotated[int, Field(ge=8)] = 400
    """Examples at most by which hyper-parameters are learned."""
    iterations: Annotated[int, Field(ge=1)] = 60
    """Steps of that."""
    directions: Annotated[int, Field(ge=1)] = 128
    """Directions of the basis at most along which deviations know the examples."""

    def fit(self, examples: Examples) -> GaussianProcessModel:
        """A model with hyper-parameters by greatest marginal likelihood."""
        self.check(examples)
        target = Target.of(self.target, examples)
        features = examples.encoding.features(examples.matrix)
        standard = Standard.of(features)
        inputs, values = standard(features), target.latent(examples.values)
        some = np.random.default_rng(examples.seed).permutation(len(values))[: self.optimized]
        kernel, noise = learned(inputs[some].astype(float), values[some], self.iterations)
        basis = Basis.of(kernel, inputs, self.inducing)
        spectrum = Spectrum.of(basis(inputs).astype(float), values)
        posterior = Posterior.of(spectrum, _likeliest_noise(spectrum, noise), self.directions)
        return GaussianProcessModel(examples.encoding, target, standard, basis, posterior)

    def restore(self, encoding: Encoding, arrays: Arrays) -> GaussianProcessModel:
        """The model of these arrays."""
        target, standard = Target.restore(inner("target", arrays)), Standard.restore(inner("standard", arrays))
        basis = Basis.restore(inner("basis", arrays))
        return GaussianProcessModel(encoding, target, standard, basis, Posterior.restore(inner("posterior", arrays)))


class GaussianProcessModel(LatentModel):
    """A Gaussian posterior of weights on the basis.

    Weights and directions are folded with the whitening, so that a row costs one product with the inducing examples and
    two with the directions.
    """

    def __init__(
        self, encoding: Encoding, target: Target, standard: Standard, basis: Basis, posterior: Posterior
    ) -> None:
        super().__init__(encoding, target)
        self.standard, self.basis, self.posterior = standard, basis, posterior
        d = basis.inducing.shape[1]
        both = np.concatenate([posterior.directions, posterior.weights[:, None]], axis=1)
        self._of_inputs = both[:d] * basis.slope
        self._of_near = basis.whitening @ both[d:]

    def latent(self, matrix: Genes) -> tuple[Floats, Floats]:
        """Mean and variance by the posterior."""
        inputs = self.standard(self.encoding.features(matrix))
        near = self.basis.kernel.cross(inputs * self.basis.kernel.root, self.basis.scaled)
        found = inputs @ self._of_inputs + near @ self._of_near
        known = np.square(found[:, :-1]) @ self.posterior.reduction
        return found[:, -1].astype(float), self.posterior.noise + np.maximum(self.basis.prior(inputs) - known, 0.0)

    def arrays(self) -> Arrays:
        """Target, standardization, basis and posterior."""
        parts = nested("target", self.target.arrays()) | nested("standard", self.standard.arrays())
        return parts | nested("basis", self.basis.arrays()) | nested("posterior", self.posterior.arrays())


def _likeliest_noise(found: Spectrum, start: float) -> float:
    """The noise variance of greatest marginal likelihood, given up to it."""
    inside, others = found.projected**2 / found.squares, found.count - len(found.squares)

    def energy(log: float) -> float:
        variance = found.squares + np.exp(log)
        return float((np.log(variance) + inside / variance).sum() + others * log + found.outside / np.exp(log))

    best = minimize_scalar(energy, bounds=(np.log(start) - 4, np.log(start) + 4), method="bounded")
    return float(np.exp(best.x)) + 1e-8
