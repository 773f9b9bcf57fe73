"""Bayesian averaging over linear models that differ in what they lean on: for a dozen examples and as many columns.

Each hypothesis h = (anchor, groups, rho, noise) says, with x the standardized columns and y the standardized values,

    y = c + b anchor(x) + sum over groups of x'w / sqrt(groups) + e,
    c ~ N(0, a²),  b ~ N(SLOPE, a²),  w ~ N(0, a² rho),  e ~ N(0, a² noise),  p(a) ~ 1 / a.

One column is trusted with most of the trend, all others with small corrections. Everything is in closed form (O'Hagan
and Forster, "Bayesian Inference", 2nd edition, chapter 11; Hoeting et al. 1999, "Bayesian Model Averaging: A Tutorial",
equations 1 to 3): the evidence of every hypothesis, and the first two moments of the weights under all together.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve

from predictors._arrays import number
from predictors._role import Arrays
from predictors.encodings._role import Floats

SLOPE = 0.8
"""Prior mean of the anchor's slope between standardized columns, where 1 is a perfect relative."""
GROUP_PRIOR = 0.25
"""Prior odds of a hypothesis with one more group of columns: later groups are trusted less."""
RHO = tuple(float(rho) for rho in 10.0 ** np.arange(-3, 0.1, 0.5))
NOISE = tuple(float(noise) for noise in 10.0 ** np.arange(-3.5, 0.6, 0.5))
NEGLIGIBLE = 1e-2
"""Hypotheses of less than this share of the best one's weight are left out."""


@dataclass(frozen=True)
class Linear:
    """The moments of a linear model's weights: y has mean x'w and variance x'Cx + noise, for x with a leading 1.

    Attributes:
        weights: [1 + columns].
        covariance: [1 + columns, 1 + columns].
        noise: variance of a single value.
    """

    weights: Floats
    covariance: Floats
    noise: float

    def predict(self, columns: Floats) -> tuple[Floats, Floats]:
        """Mean and variance: [n, columns] -> [n] and [n]."""
        x = np.concatenate([np.ones((len(columns), 1)), columns], axis=1)
        mean: Floats = x @ self.weights
        return mean, np.maximum(((x @ self.covariance) * x).sum(axis=1), 0.0) + self.noise

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """As plain arrays."""
        return {"weights": self.weights, "covariance": self.covariance, "noise": np.asarray(self.noise)}

    @classmethod
    def restore(cls, arrays: Arrays) -> Self:
        """From `arrays()`."""
        return cls(
            np.asarray(arrays["weights"], float), np.asarray(arrays["covariance"], float), number(arrays, "noise")
        )


@dataclass(frozen=True)
class Hypothesis:
    """The prior of one linear model, in units of the unknown amplitude a.

    Attributes:
        mean: of the weights [1 + columns].
        variances: of the weights, about their mean, on their own [1 + columns].
        anchor: a direction [1 + columns] along which they vary by 1 besides.
        noise: variance of a single value.
    """

    mean: Floats
    variances: Floats
    anchor: Floats
    noise: float

    def posterior(self, x: Floats, y: Floats) -> Linear:
        """The weights after the examples [n, 1 + columns] and [n]; a Student distribution's first two moments."""
        prior = np.diag(self.variances) + np.outer(self.anchor, self.anchor)
        cross = prior @ x.T
        factor = cho_factor(x @ cross + self.noise * np.eye(len(y)))
        residual = y - x @ self.mean
        solved = cho_solve(factor, residual)
        amplitude = float(residual @ solved) / max(len(y) - 2, 1)
        covariance = amplitude * (prior - cross @ cho_solve(factor, cross.T))
        return Linear(self.mean + cross @ solved, covariance, amplitude * self.noise)


def fit(groups: list[Floats], anchors: Floats, y: Floats) -> Linear:
    """The average over all hypotheses.

    Args:
        groups: columns [n, c] each, the most trusted group first; a hypothesis uses the first few of them.
        anchors: candidates, each as weights over all columns: [candidates, columns].
        y: standardized values [n].
    """
    columns = np.concatenate(groups, axis=1)
    x = np.concatenate([np.ones((len(y), 1)), columns], axis=1)
    found, evidence = hypotheses(groups, anchors, y)
    shares = np.exp(evidence - evidence.max())
    shares[shares < NEGLIGIBLE] = 0.0
    shares /= shares.sum()
    weights, squares, noise = np.zeros(x.shape[1]), np.zeros((x.shape[1], x.shape[1])), 0.0
    for share, hypothesis in zip(shares, found, strict=True):
        if not share:
            continue
        one = hypothesis.posterior(x, y)
        weights += share * one.weights
        squares += share * (one.covariance + np.outer(one.weights, one.weights))
        noise += share * one.noise
    return Linear(weights, squares - np.outer(weights, weights), noise)


def hypotheses(groups: list[Floats], anchors: Floats, y: Floats) -> tuple[list[Hypothesis], Floats]:
    """Every hypothesis, and the logarithms of their evidence times prior, up to a constant.

    With U D U' the groups' Gram matrix, a hypothesis is a regression of U'y with known diagonal noise on two columns,
    the constant and the anchor; so the eigenvectors serve all anchors, rhos and noises at once.
    """
    columns = np.concatenate(groups, axis=1)
    along = columns @ anchors.T
    directions = np.concatenate([np.zeros((len(anchors), 1)), anchors], axis=1)
    found, evidence = [], []
    for count in range(1, len(groups) + 1):
        variances = _variances(groups, count)
        eigenvalues, basis = np.linalg.eigh((columns * variances) @ columns.T)
        rotated = [basis.T @ item for item in (y[:, None] - SLOPE * along, along, np.ones((len(y), 1)))]
        for rho, noise in product(RHO, NOISE):
            logs = _evidence(rho * np.maximum(eigenvalues, 0.0) + noise, *rotated)
            evidence.append(logs + count * np.log(GROUP_PRIOR))
            own = np.append(1.0, rho * variances)
            found += [Hypothesis(SLOPE * anchor, own, anchor, noise) for anchor in directions]
    return found, np.concatenate(evidence)


def _variances(groups: list[Floats], count: int) -> Floats:
    """A variance for each column, so that each of the first `count` groups adds 1 / count to a value's: [columns]."""
    scales = [1.0 / (count * max(float((group**2).sum(axis=1).mean()), 1e-12)) for group in groups]
    return np.concatenate(
        [
            np.full(group.shape[1], scale if i < count else 0.0)
            for i, (group, scale) in enumerate(zip(groups, scales, strict=True))
        ]
    )


def _evidence(noises: Floats, y: Floats, along: Floats, ones: Floats) -> Floats:
    """log p(y) with a² integrated out, for each anchor: noises [n], y and along [n, anchors], ones [n, 1] -> [anchors].

    By the matrix inversion and determinant lemmas for the two columns of prior variance 1 each.
    """
    weight = (1.0 / noises)[:, None]

    def inner(first: Floats, second: Floats) -> Floats:
        total: Floats = (first * second * weight).sum(axis=0)
        return total

    aa, bb, ab = 1 + inner(ones, ones), 1 + inner(along, along), inner(ones, along)
    ay, by = inner(ones, y), inner(along, y)
    determinant = aa * bb - ab**2
    quadratic = inner(y, y) - (bb * ay**2 - 2 * ab * ay * by + aa * by**2) / determinant
    return -0.5 * (len(y) * np.log(quadratic) + np.log(noises).sum() + np.log(determinant))
