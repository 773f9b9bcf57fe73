"""Bayesian linear regression in a given basis, the core of `ridge` and `gaussian_process`."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from predictors._role import Arrays
from predictors.encodings._role import Floats

Singles = npt.NDArray[np.float32]
STRENGTHS = np.logspace(-4, 4, 33)
"""Ridge strengths that are tried, over the mean squared singular value."""


@dataclass(frozen=True)
class Standard:
    """Features less their mean over their standard deviation on the examples; those that never differ are left out."""

    kept: npt.NDArray[np.int64]
    centre: Singles
    scale: Singles

    @classmethod
    def of(cls, features: Singles) -> Standard:
        """The standardization of examples' features [n, f]."""
        spread = features.std(axis=0, dtype=float)
        kept = np.flatnonzero(spread > 1e-6 * (1e-6 + np.abs(features).max(axis=0)))
        return cls(
            kept, features[:, kept].mean(axis=0, dtype=float).astype(np.float32), spread[kept].astype(np.float32)
        )

    def __call__(self, features: Singles) -> Singles:
        """[n, f] -> [n, kept]."""
        found = features if len(self.kept) == features.shape[1] else features.take(self.kept, axis=1)
        found = found - self.centre
        found /= self.scale
        return found

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """As plain arrays."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def restore(cls, arrays: Arrays) -> Standard:
        """From `arrays()`."""
        return cls(**{field.name: arrays[field.name] for field in fields(cls)})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Spectrum:
    """Examples in the coordinates in which a regression falls apart into independent ones.

    From the eigenvectors of the smaller Gram matrix, which are several times faster to find than singular vectors.
    Directions whose square is below 1e-10 of the greatest are rounding errors and left out.
    """

    squares: Floats
    """[r]: squared singular values of the basis, the greatest first."""
    right: Floats
    """[r, d]: right singular vectors."""
    projected: Floats
    """[r]: the values in these directions, times the singular values."""
    outside: float
    """What of the squared values no direction reaches."""
    count: int
    """Examples."""

    @classmethod
    def of(cls, basis: Floats, values: Floats) -> Spectrum:
        """That of a basis [n, d] at the examples, with their values [n]."""
        n, d = basis.shape
        squares, vectors = np.linalg.eigh(basis.T @ basis if d <= n else basis @ basis.T)
        kept = np.flatnonzero(squares > 1e-10 * squares.max(initial=0.0))[::-1]
        squares, found = squares[kept], vectors[:, kept].T
        right = found if d <= n else (found @ basis) / np.sqrt(squares)[:, None]
        projected = right @ (basis.T @ values)
        outside = float(values @ values - (projected**2 / squares).sum())
        return cls(squares, right, projected, max(outside, 0.0), n)


@dataclass(frozen=True)
class Posterior:
    """Weights of y = basis @ weights + noise under a standard normal prior (Bishop 2006, equations 3.49 to 3.59).

    The variance of a prediction is exact along the `directions` in which the examples vary most, and that of the prior
    elsewhere, which is never too small.
    """

    weights: Singles
    """[d]: their posterior mean."""
    directions: Singles
    """[d, r]: orthonormal."""
    reduction: Singles
    """[r]: by how much of the prior's variance the examples reduce that along each direction."""
    noise: float
    """Variance of y about the regression."""

    @classmethod
    def of(cls, found: Spectrum, noise: float, rank: int) -> Posterior:
        """The posterior given the examples."""
        weights = found.right.T @ (found.projected / (found.squares + noise))
        reduction = (found.squares / (found.squares + noise))[:rank]
        singles = [array.astype(np.float32) for array in (weights, found.right[:rank].T, reduction)]
        return cls(singles[0], np.ascontiguousarray(singles[1]), singles[2], noise)

    def mean(self, basis: Singles) -> Floats:
        """[n, d] -> [n]."""
        return (basis @ self.weights).astype(float)

    def variance(self, basis: Singles, prior: Floats) -> Floats:
        """Of a new measurement, given the prior variances [n] at the basis [n, d]: -> [n]."""
        along = basis @ self.directions
        np.square(along, out=along)
        return self.noise + np.maximum(prior - along @ self.reduction, 0.0)

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """As plain arrays."""
        return {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def restore(cls, arrays: Arrays) -> Posterior:
        """From `arrays()`."""
        found = {field.name: arrays[field.name] for field in fields(cls)}
        return cls(**{**found, "noise": float(np.asarray(found["noise"], dtype=float))})  # type: ignore[arg-type]


def cross_validated(basis: Floats, values: Floats) -> tuple[Floats, Floats]:
    """The ridge strength of least generalized cross-validation (Golub, Heath, Wahba 1979), and its noise variance.

    Args:
        basis: [n, d].
        values: [n, k], centred: k regressions at once.

    Returns:
        Strengths [k] and noise variances [k].
    """
    left, sizes, _ = np.linalg.svd(basis, full_matrices=False)
    strengths = STRENGTHS * (np.mean(sizes**2) if len(sizes) else 1.0)
    kept = sizes**2 / (sizes**2 + strengths[:, None])
    inside = left.T @ values
    outside = (values**2).sum(axis=0) - (inside**2).sum(axis=0)
    errors = np.maximum(outside, 0) + ((1 - kept) ** 2) @ inside**2
    free = np.maximum(len(values) - 1 - kept.sum(axis=1), 0.5)[:, None]
    best = (errors / free**2).argmin(axis=0)
    columns = np.arange(values.shape[1])
    return strengths[best], (errors / free)[best, columns] + 1e-8
