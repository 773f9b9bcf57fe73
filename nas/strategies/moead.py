"""MOEA/D: Zhang and Li, "MOEA/D: A multiobjective evolutionary algorithm based on decomposition" (2007)."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from nas.archive import Archive
from nas.problem import Floats, Genes, Problem
from nas.strategies._breeding import Breeding
from nas.strategies._candidates import in_batches, newcomers
from nas.strategies._directions import directions
from nas.strategies._role import Strategy
from nas.strategies.nsga2 import judged


class Moead(Strategy):
    """One weighted problem for each direction; neighbours breed together, and a child replaces those that it beats.

    The problems are those of Tchebycheff (equation 7), of objectives over the extent of what is known (section V-G).
    Children of one sweep over all problems are bred before the first of them is judged, so that they can be evaluated
    at once; a smaller violation beats a larger one. The archive is the external population.
    """

    population: int = Field(default=20, ge=2)
    """Weighted problems, and architectures in one sweep."""
    neighbours: int = Field(default=5, ge=1)
    """Problems, of the nearest directions, that a child's parents come from and that it may be put into."""
    crossover_rate: float = Field(default=0.9, ge=0, le=1)
    """Share of children that have two parents."""
    mutation_rate: float | None = Field(default=None, gt=0, le=1)
    """Probability that a decision changes; one decision of each child on average if not given."""

    def ask(self, problem: Problem, archive: Archive, seed: int) -> Genes:
        """The rest of the current sweep."""

        def batch(sweep: int, rows: Genes, rng: np.random.Generator) -> Genes:
            if sweep == 0:
                return newcomers(problem, rows, rng, self.population)
            values, violations = judged(problem, archive, sweep * self.population)
            near = self._near(values.shape[1])
            held = self._held(values, violations, near)
            breeding = Breeding(problem, rng, self.crossover_rate, self.mutation_rate)

            def breed(n: int) -> Genes:
                of = np.arange(n) % self.population
                picks = rng.integers(near.shape[1], size=(2, n))
                return breeding.cross(rows[held[near[of, picks[0]]]], rows[held[near[of, picks[1]]]])

            return breeding.batch(breed, self.population, rows)

        return in_batches(self.population, batch, problem, archive, seed)

    def _weights(self, m: int) -> Floats:
        """A direction [population, m] of each problem; where they are too few for all, from the first again."""
        found = directions(m, self.population)
        return np.maximum(found[np.arange(self.population) % len(found)], 1e-6)

    def _near(self, m: int) -> np.ndarray:
        """For each problem the numbers of those with the nearest weights, its own among them."""
        weights = self._weights(m)
        distance = np.linalg.norm(weights[:, None] - weights, axis=2)
        return distance.argsort(axis=1, kind="stable")[:, : self.neighbours]

    def _held(self, values: Floats, violations: Floats, near: np.ndarray) -> np.ndarray:
        """The number of the trial that each problem holds [population] after these sweeps."""
        weights, held = self._weights(values.shape[1]), np.arange(self.population)
        for start in range(self.population, len(values), self.population):
            scaled = from_ideal(values[: start + self.population])
            for child in range(start, start + self.population):
                around = near[child - start]
                mine, theirs = (
                    (weights[around] * scaled[rows]).max(axis=1) for rows in (np.array([child]), held[around])
                )
                less, same = violations[child] < violations[held[around]], violations[child] == violations[held[around]]
                held[around[less | (same & (mine <= theirs))]] = child
        return held


def from_ideal(values: Floats) -> Floats:
    """Values [n, m] from the least of each objective, over the extent of the finite ones."""
    finite = np.where(np.isfinite(values), values, np.nan)
    if np.isnan(finite).all(axis=0).any():
        return np.where(np.isfinite(values), 0.0, np.inf)
    low, high = np.nanmin(finite, axis=0), np.nanmax(finite, axis=0)
    return (values - low) / np.where(high > low, high - low, 1.0)
