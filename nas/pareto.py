"""Pareto dominance, ranks, crowding and hypervolume; every objective is minimized and infinities are allowed."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]


def non_dominated_sort(values: ArrayLike, violations: ArrayLike | None = None) -> Integers:
    """Ranks [n] of values [n, m] under constraint domination: 0 is the front, 1 the front without it, and so on.

    Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II" (2002), sections III-A and VI: the
    feasible (violation 0) come before the infeasible, and the infeasible are ordered by their violation alone.

    Raises:
        ValueError: a value or a violation is not a number, or the shapes do not fit.
    """
    points = _points(values)
    excess = np.zeros(len(points)) if violations is None else np.asarray(violations, dtype=np.float64)
    if excess.shape != (len(points),) or np.isnan(excess).any():
        raise ValueError(f"violations must be {len(points)} numbers, not {excess!r}")
    feasible = excess <= 0
    ranks = np.empty(len(points), dtype=np.int64)
    ranks[feasible] = _peel(points[feasible])
    fronts = int(ranks[feasible].max(initial=-1)) + 1
    ranks[~feasible] = fronts + np.unique(excess[~feasible], return_inverse=True)[1]
    return ranks


def front_mask(values: ArrayLike) -> Mask:
    """Mask [n] of the values [n, m] that no other one dominates; equal ones stay together."""
    points = _points(values)
    mask = np.zeros(len(points), dtype=np.bool_)
    left = np.lexsort(points.T[::-1]) if len(points) else np.zeros(0, dtype=np.int64)
    while len(left):  # the first in lexicographic order is never dominated by a later one
        best = points[left[0]]
        mask[left[0]] = True
        equal = (points[left] == best).all(axis=1)
        mask[left[equal]] = True
        left = left[(points[left] < best).any(axis=1)]
    return mask


def crowding_distance(values: ArrayLike) -> Floats:
    """Distance [n] of each of the values [n, m] of one front to its neighbours, in shares of the objective's range.

    Deb et al. (2002), section III-B: the ends of each objective are infinitely far. Ties are ordered by index. An
    objective that does not vary counts for nothing; an infinite value counts as the worst or best finite one.
    """
    points = _points(values)
    distance = np.zeros(len(points))
    if len(points) <= 2:
        return np.full(len(points), np.inf)
    for column in points.T:
        column = _finite(column)
        order = np.argsort(column, kind="stable")
        spread = column[order[-1]] - column[order[0]]
        if spread > 0:
            distance[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / spread
            distance[order[[0, -1]]] = np.inf
    return distance


def crowding_distances(values: ArrayLike, ranks: Integers) -> Floats:
    """The crowding distance [n] of each of the values [n, m] within its rank [n]."""
    points = _points(values)
    distance = np.zeros(len(points))
    if len(points) <= 2 or not np.isfinite(points).all():
        for rank in np.unique(ranks):
            distance[ranks == rank] = crowding_distance(points[ranks == rank])
        return distance
    for column in points.T:
        order = np.lexsort((column, ranks))
        first = np.flatnonzero(np.diff(ranks[order], prepend=-1))
        last = np.append(first[1:], len(order)) - 1
        spread = column[order[last]] - column[order[first]]
        wide = np.repeat(spread, last - first + 1)
        around = np.pad(column[order[2:]] - column[order[:-2]], (1, 1))
        distance[order] += np.divide(around, wide, out=np.zeros(len(order)), where=wide > 0)
        distance[order[np.concatenate([first[spread > 0], last[spread > 0]])]] = np.inf
    distance[np.bincount(ranks)[ranks] <= 2] = np.inf
    return distance


def hypervolume(values: ArrayLike, reference: ArrayLike) -> float:
    """The volume that values [n, m] dominate below the reference [m], exactly.

    A sweep in two dimensions; above, a sum of exclusive volumes, taken from the worst to the best of the last objective
    so that each step falls by one dimension: While, Bradstreet and Barone, "A fast way of calculating exact
    hypervolumes" (2012). Points that do not beat the reference everywhere add nothing.

    Raises:
        ValueError: the reference is not finite, or the shapes do not fit.
    """
    points = _points(values)
    corner = np.asarray(reference, dtype=np.float64)
    if corner.ndim != 1 or not np.isfinite(corner).all():
        raise ValueError(f"the reference must be a vector of finite numbers, not {reference!r}")
    if len(points) == 0:
        return 0.0
    if points.shape[1] != len(corner):
        raise ValueError(f"{points.shape[1]} objectives but a reference of {len(corner)}")
    points = points[(points < corner).all(axis=1)]
    if np.isneginf(points).any():
        return math.inf
    return _volume(np.unique(points[front_mask(points)], axis=0), corner)


def _points(values: ArrayLike) -> Floats:
    points = np.asarray(values, dtype=np.float64)
    if points.ndim != 2:
        raise ValueError(f"values must be [n, objectives], not of shape {points.shape}")
    if np.isnan(points).any():
        raise ValueError("values must be numbers, and there is a NaN among them")
    return points


def _peel(points: Floats) -> Integers:
    """Ranks [n] by taking one front after the other off the matrix of dominance [n, n]."""
    at_most = np.ones((len(points), len(points)), dtype=np.bool_)
    for column in points.T:
        at_most &= column[:, None] <= column[None, :]
    dominates = at_most & ~at_most.T
    dominators = dominates.sum(axis=0)
    ranks = np.full(len(points), -1, dtype=np.int64)
    rank = 0
    while (ranks < 0).any():
        front = (ranks < 0) & (dominators == 0)
        ranks[front] = rank
        dominators -= dominates[front].sum(axis=0)
        rank += 1
    return ranks


def _finite(column: Floats) -> Floats:
    """The column with its infinities moved to the nearest finite value."""
    finite = column[np.isfinite(column)]
    if len(finite) == 0:
        return np.sign(column)
    return np.clip(column, finite.min(), finite.max())


def _volume(points: Floats, corner: Floats) -> float:
    """Hypervolume of distinct points [n, m], none dominated, all better than the corner [m]."""
    if len(points) == 0:
        return 0.0
    if len(corner) == 1:
        return float(corner[0] - points[:, 0].min())
    if len(corner) == 2:
        return _area(points, corner)
    points = points[np.argsort(-points[:, -1], kind="stable")]
    total = 0.0
    for index, point in enumerate(points[:, :-1]):
        covered = np.maximum(points[index + 1 :, :-1], point)
        covered = np.unique(covered[front_mask(covered)], axis=0)
        exclusive = np.prod(corner[:-1] - point) - _volume(covered, corner[:-1])
        total += float(exclusive) * float(corner[-1] - points[index, -1])
    return total


def _area(points: Floats, corner: Floats) -> float:
    """Hypervolume of distinct non-dominated points [n, 2]: a staircase of rectangles."""
    points = points[np.argsort(points[:, 0])]
    tops = np.concatenate([corner[1:], points[:-1, 1]])
    return float(((corner[0] - points[:, 0]) * (tops - points[:, 1])).sum())
