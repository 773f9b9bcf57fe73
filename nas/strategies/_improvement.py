"""Expected improvement of the hypervolume by candidates whose values are uncertain.

Emmerich, Giannakoglou and Naujoks, "Single- and multiobjective evolutionary optimization assisted by Gaussian random
field metamodels" (2006): for independent Gaussian values the expectation is the integral, over the points z that the
front does not dominate, of the probability that a candidate dominates z. On a grid whose lines go through the front it
is a sum over cells of products of one integral for each objective, which have a closed form. Several candidates are
together worth 1 - prod(1 - probability) at each z, so that the next one of a batch is chosen with those before it in
view; there each cell counts with its mean probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
from scipy.special import ndtr

from nas.problem import Floats, Mask

CELLS = 4096
"""Cells of the grid, about."""
REACH = 5.0
"""Standard deviations below its mean at which a value is still expected."""
FAR = 40.0
"""Standard deviations beyond which a probability is 0."""


class Improvement:
    """What candidates are expected to add to the volume that a front dominates, below the worst of all that is known.

    Args:
        values: all that is known [n, m].
        front: those of them that are not dominated [k, m].
        mean: of the candidates' values [c, m], minimized.
        std: their standard deviations [c, m]; 0 where a value is known.
        likely: the probabilities [c] of being within the bounds.
    """

    def __init__(self, values: Floats, front: Floats, mean: Floats, std: Floats, likely: Floats) -> None:
        n = max(4, round(CELLS ** (1 / values.shape[1])))
        lines = [_lines(n, *columns) for columns in zip(values.T, front.T, (mean - REACH * std).T, strict=True)]
        centres = np.meshgrid(*((line[1:] + line[:-1]) / 2 for line in lines), indexing="ij")
        volumes = _product([np.diff(line) for line in lines])
        self._left = np.where(dominated(np.stack(centres, axis=-1), front), 0.0, volumes)
        self._shares = [_shares(*columns) for columns in zip(lines, mean.T, std.T, strict=True)]
        self._likely = likely

    def worth(self) -> Floats:
        """The expected improvement [c] by each candidate."""
        found = np.tensordot(self._shares[0], self._left, axes=1)
        for share in self._shares[1:]:
            found = np.einsum("ci,ci...->c...", share, found)
        return np.asarray(self._likely * found)

    def choose(self, n: int) -> list[int]:
        """Numbers of n candidates of greatest joint improvement, greedily: the best first; fewer if there are fewer."""
        found: list[int] = []
        for _ in range(min(n, len(self._likely))):
            worth = self.worth()
            worth[found] = -1.0
            found.append(best := int(worth.argmax()))
            self._left = self._left * (1 - self._likely[best] * _product([share[best] for share in self._shares]))
        return found


def dominated(points: Floats, front: Floats) -> Mask:
    """Mask [...] of the points [..., m] that one of the front's [k, m] dominates."""
    found = np.zeros(points.shape[:-1], dtype=np.bool_)
    for value in front:
        found |= (value <= points).all(axis=-1)
    return found


def _lines(n: int, values: Floats, front: Floats, hoped: Floats) -> Floats:
    """The grid's lines [at most n + 1] along one objective: n / 2 at most through the front, others evenly."""
    upper = float(values.max())
    lower = min(float(hoped.min()), upper)
    if lower == upper:
        return np.array([lower, lower + 1.0])
    own = np.unique(front)
    kept = own[np.linspace(0, len(own) - 1, min(len(own), n // 2)).astype(int)]
    return np.unique(np.concatenate([np.linspace(lower, upper, n - len(kept) + 1), np.clip(kept, lower, upper)]))


def _shares(lines: Floats, mean: Floats, std: Floats) -> Floats:
    """The mean probability [c, l - 1] with which each candidate's value is below a point between two lines."""
    if not std.any():
        return np.diff(np.maximum(lines - mean[:, None], 0.0), axis=1) / np.diff(lines)
    spread = np.maximum(std, 1e-12)[:, None]
    scaled = np.maximum((lines - mean[:, None]) / spread, -FAR)
    integral = spread * (scaled * ndtr(scaled) + np.exp(-np.square(scaled) / 2) / np.sqrt(2 * np.pi))
    return np.diff(integral, axis=1) / np.diff(lines)


def _product(factors: Sequence[Floats]) -> Floats:
    """The outer product of vectors."""
    return np.asarray(reduce(np.multiply.outer, factors))
