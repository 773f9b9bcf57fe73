"""Expected improvement of the hypervolume by candidates whose values are uncertain.

Emmerich, Giannakoglou and Naujoks, "Single- and multiobjective evolutionary optimization assisted by Gaussian random
field metamodels" (2006): for independent Gaussian values the expectation is the integral, over the points z that the
front does not dominate, of the probability that a candidate dominates z. Several candidates together are worth
1 - prod(1 - probability) at each z, so that the next one of a batch is chosen with those before it in view.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr
from scipy.stats import qmc

from nas.problem import Floats, Mask

POINTS = 1024
"""Points of the integral at most."""
DRAWN = 2**14
"""Points drawn in the box; those are kept that the front does not dominate."""
REACH = 3.0
"""Standard deviations below its mean at which a value is still expected."""


def choose(gain: Floats, n: int) -> list[int]:
    """Numbers of n candidates of greatest joint expected improvement, greedily: the best first.

    Args:
        gain: the probability [c, p] that each candidate is within the bounds and dominates each point.
        n: how many, fewer where there are fewer candidates.
    """
    left, found = np.ones(gain.shape[1]), list[int]()
    for _ in range(min(n, len(gain))):
        worth = gain @ left
        worth[found] = -1.0
        found.append(int(worth.argmax()))
        left *= 1 - gain[found[-1]]
    return found


def dominating(mean: Floats, std: Floats, points: Floats) -> Floats:
    """The probability [c, p] that each candidate dominates each point.

    Args:
        mean: of the values [c, m], minimized.
        std: their standard deviations [c, m]; 0 where a value is known.
        points: [p, m].
    """
    found = np.ones((len(mean), len(points)))
    for column, (centre, spread) in enumerate(zip(mean.T, std.T, strict=True)):
        found *= ndtr((points[:, column] - centre[:, None]) / np.maximum(spread, 1e-12)[:, None])
    return found


def improvable(values: Floats, front: Floats, mean: Floats, std: Floats, seed: int) -> Floats:
    """At most `POINTS` points [p, m], uniform over what the front leaves and an optimist may reach.

    Args:
        values: all that is known [n, m]; the worst of each objective bounds the box.
        front: those of them that are not dominated [k, m].
        mean: of the candidates' values [c, m].
        std: their standard deviations [c, m].
        seed: of the points.
    """
    upper = values.max(axis=0)
    lower = np.minimum((mean - REACH * std).min(axis=0), upper)
    drawn = lower + (upper - lower) * qmc.Sobol(len(upper), seed=seed).random(DRAWN)
    return drawn[~dominated(drawn, front)][:POINTS]


def dominated(points: Floats, front: Floats) -> Mask:
    """Mask [p] of the points that one of the front's dominates."""
    found = np.zeros(len(points), dtype=np.bool_)
    for value in front:
        found |= (value <= points).all(axis=1)
    return found
