"""Several objectives as one, for methods that maximize a reward: one for each direction."""

from __future__ import annotations

import numpy as np

from nas.problem import Floats
from nas.strategies._directions import directions

SUM = 0.05
"""Weight of the sum beside the maximum, which tells apart what ties in the worst objective."""


def weights(m: int, n: int) -> Floats:
    """A direction [n, m] for each place of a batch; where they are too few for all, from the first again."""
    found = directions(m, n)
    return found[np.arange(n) % len(found)]


def scalarized(values: Floats, toward: Floats, low: Floats, high: Floats) -> Floats:
    """Augmented Tchebycheff values [n, k], less is better (Miettinen 1999, section 3.4.5); NaN for what is infinite.

    Args:
        values: minimized objectives [n, m].
        toward: directions [k, m].
        low: the least of each objective [m].
        high: the greatest [m]; an objective without extent counts for nothing.
    """
    finite = np.where(np.isfinite(values), values, np.nan)
    scaled = (finite - low) / np.where(high > low, high - low, 1.0)
    shares = toward * scaled[:, None]
    return np.asarray(shares.max(axis=2) + SUM * shares.sum(axis=2))


def extent(values: Floats) -> tuple[Floats, Floats]:
    """The least and the greatest finite value [m] of each objective; 0 and 0 where there is none."""
    finite = np.where(np.isfinite(values), values, np.nan)
    known = np.isfinite(values).any(axis=0)
    low, high = (np.zeros(values.shape[1]) for _ in range(2))
    low[known], high[known] = np.nanmin(finite[:, known], axis=0), np.nanmax(finite[:, known], axis=0)
    return low, high


def rewards(values: Floats, violations: Floats, n: int, toward: Floats) -> Floats:
    """The reward [n, k] of each of the last n trials in each direction: the share of all trials that it beats there.

    Any that is within the bounds beats any that is not, and these are told apart by their violations; a failure beats
    nothing. Shares need no scale, and remain comparable while better and better trials are found.

    Args:
        values: minimized objectives [all, m] of all trials so far, infinite where they failed.
        violations: of the bounds [all].
        n: how many are rewarded.
        toward: directions [k, m].
    """
    scores = scalarized(values, toward, *extent(values))
    feasible = np.isfinite(scores) & (violations == 0)[:, None]
    penalty = np.where(feasible, scores, 1e6 + np.minimum(violations, 1e6)[:, None])
    return np.asarray((penalty[len(values) - n :, None] < penalty).mean(axis=1))
