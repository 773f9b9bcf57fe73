"""NSGA-III: Deb and Jain, "An evolutionary many-objective optimization algorithm using reference points" (2014)."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from nas import pareto
from nas.archive import Archive
from nas.problem import Floats, Genes, Problem
from nas.strategies._breeding import Breeding
from nas.strategies._candidates import in_batches, newcomers
from nas.strategies._directions import directions
from nas.strategies._role import Strategy
from nas.strategies.nsga2 import judged

AWAY = 1e-6
"""What counts as nothing: the weight of the other objectives of an axis, and an intercept."""


class Nsga3(Strategy):
    """NSGA-II, with the last rank that survives thinned out evenly over reference directions.

    Constraint domination is that of part II of the paper; there are as many directions as the population allows.
    Parents are drawn at random where both are within bounds, else the less violating is taken (part II, algorithm 2).
    """

    population: int = Field(default=20, ge=2)
    """Architectures in one generation."""
    crossover_rate: float = Field(default=0.9, ge=0, le=1)
    """Share of children that have two parents."""
    mutation_rate: float | None = Field(default=None, gt=0, le=1)
    """Probability that a decision changes; one decision of each child on average if not given."""

    def ask(self, problem: Problem, archive: Archive, seed: int) -> Genes:
        """The rest of the current generation."""

        def batch(generation: int, rows: Genes, rng: np.random.Generator) -> Genes:
            if generation == 0:
                return newcomers(problem, rows, rng, self.population)
            values, violations = judged(problem, archive, generation * self.population)
            kept = self._survivors(values, violations, generation, seed)
            breeding = Breeding(problem, rng, self.crossover_rate, self.mutation_rate)

            def drawn(n: int) -> Genes:
                first, second = rng.integers(len(kept), size=(2, n))
                worse = violations[kept[second]] < violations[kept[first]]
                return rows[kept[np.where(worse, second, first)]]

            return breeding.batch(lambda n: breeding.cross(drawn(n), drawn(n)), self.population, rows)

        return in_batches(self.population, batch, problem, archive, seed)

    def _survivors(self, values: Floats, violations: Floats, generations: int, seed: int) -> np.ndarray:
        """Numbers of the trials that survive these generations."""
        kept = np.arange(self.population)
        for generation in range(1, generations):
            pool = np.concatenate([kept, np.arange(self.population) + generation * self.population])
            rng = np.random.default_rng([seed, generation, 1])
            kept = pool[selected(values[pool], violations[pool], self.population, rng)]
        return kept


def selected(values: Floats, violations: Floats, n: int, rng: np.random.Generator) -> np.ndarray:
    """Numbers of n of the values [k, m]: whole ranks, then those in the emptiest directions (algorithm 1)."""
    ranks = pareto.non_dominated_sort(values, violations)
    last = np.sort(ranks)[n - 1]
    sure, left = np.flatnonzero(ranks < last), np.flatnonzero(ranks == last)
    if len(sure) + len(left) == n or not np.isfinite(values[left]).all():
        return np.concatenate([sure, left])[:n]
    considered = np.concatenate([sure, left])[np.isfinite(values[np.concatenate([sure, left])]).all(axis=1)]
    scaled = normalized(values[considered], pareto.front_mask(values[considered]))
    niche, distance = associated(scaled, directions(values.shape[1], n))
    held = np.isin(considered, sure)
    counts = np.bincount(niche[held], minlength=len(directions(values.shape[1], n)))
    chosen = niching(counts, niche[~held], distance[~held], n - len(sure), rng)
    return np.concatenate([sure, considered[~held][chosen]])


def normalized(values: Floats, front: np.ndarray) -> Floats:
    """Values [k, m] from the ideal point, over the intercepts of the plane through the extreme points (section IV-C).

    The nadir of the front takes the intercepts' place where there is no such plane.
    """
    moved = values - values.min(axis=0)
    m = values.shape[1]
    weights = np.where(np.eye(m) == 1, 1.0, AWAY)
    extremes = moved[(moved[:, None] / weights).max(axis=2).argmin(axis=0)]
    worst = moved[front].max(axis=0)
    intercepts = np.full(m, np.nan)
    if np.linalg.matrix_rank(extremes) == m:
        slopes = np.linalg.solve(extremes, np.ones(m))
        intercepts = np.where(slopes > 0, 1 / np.where(slopes > 0, slopes, 1.0), np.nan)
    fine = np.isfinite(intercepts).all() and (intercepts > AWAY).all()
    span = intercepts if fine else worst
    return np.asarray(moved / np.where(span > 0, span, 1.0))


def associated(scaled: Floats, axes: Floats) -> tuple[np.ndarray, Floats]:
    """For each of the values [k, m] the number of the nearest axis, and the distance from it (algorithm 3)."""
    unit = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    along = scaled @ unit.T
    squares = np.square(scaled).sum(axis=1)[:, None] - np.square(along)
    distance = np.sqrt(np.maximum(squares, 0.0))
    niche = distance.argmin(axis=1)
    return niche, distance[np.arange(len(scaled)), niche]


def niching(counts: np.ndarray, niche: np.ndarray, distance: Floats, n: int, rng: np.random.Generator) -> list[int]:
    """Numbers of n of those in the niches: the nearest to an empty direction, any of another (algorithm 4)."""
    counts, chosen = counts.astype(float), list[int]()
    free = np.ones(len(niche), dtype=np.bool_)
    while len(chosen) < n:
        counts[np.bincount(niche[free], minlength=len(counts)) == 0] = np.inf
        direction = rng.choice(np.flatnonzero(counts == counts.min()))
        members = np.flatnonzero(free & (niche == direction))
        best = members[distance[members].argmin()] if counts[direction] == 0 else rng.choice(members)
        chosen.append(int(best))
        free[best] = False
        counts[direction] += 1
    return chosen
