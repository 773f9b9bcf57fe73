"""Directions spread evenly over the objectives: Das and Dennis, "Normal-boundary intersection" (1998)."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np

from nas.problem import Floats


def directions(m: int, most: int) -> Floats:
    """At most so many points [n, m] of the unit simplex, in steps of one length; at least its m corners."""
    if m == 1:
        return np.ones((1, 1))
    steps = 1
    while comb(steps + m, m - 1) <= most:
        steps += 1
    bars = np.array(list(combinations(range(steps + m - 1), m - 1)), dtype=np.int64)
    ends = np.pad(bars, ((0, 0), (1, 1)), constant_values=((0, 0), (-1, steps + m - 1)))
    return (np.diff(ends, axis=1) - 1) / steps
