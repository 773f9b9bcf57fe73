"""Regularized evolution: Real et al., "Regularized Evolution for Image Classifier Architecture Search" (1802.01548)."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from nas.archive import Archive
from nas.problem import Genes, Problem
from nas.strategies._breeding import Breeding
from nas.strategies._candidates import in_batches, newcomers
from nas.strategies._role import Strategy
from nas.strategies.nsga2 import judged, rank


class RegularizedEvolution(Strategy):
    """Tournaments among the youngest: who is oldest dies, not who is worst (algorithm 1).

    The children of a batch know nothing of each other, as with so many workers. The winner of a sample is its best by
    rank, then by crowding, under constraint domination; with one objective that is the published comparison.
    """

    population: int = Field(default=50, ge=2)
    """The youngest trials, from which parents come; the first of them are random."""
    sample: int = Field(default=12, ge=1)
    """Trials drawn for a tournament, with replacement; a quarter of the population as published."""
    batch_size: int = Field(default=10, ge=1)
    """Children at a time, each a mutation of one parent."""
    mutation_rate: float | None = Field(default=None, gt=0, le=1)
    """Probability that a decision changes; one decision of each child on average if not given."""

    def ask(self, problem: Problem, archive: Archive, seed: int) -> Genes:
        """The rest of the current batch."""

        def batch(number: int, rows: Genes, rng: np.random.Generator) -> Genes:
            if len(rows) < self.population:
                return newcomers(problem, rows, rng, self.batch_size)
            values, violations = (found[-self.population :] for found in judged(problem, archive, len(rows)))
            ranks, crowding = rank(values, violations)
            places = np.empty(self.population, dtype=np.int64)
            places[np.lexsort((-crowding, ranks))] = np.arange(self.population)
            living, breeding = rows[-self.population :], Breeding(problem, rng, 0.0, self.mutation_rate)

            def breed(n: int) -> Genes:
                drawn = rng.integers(self.population, size=(n, self.sample))
                return breeding.mutate(living[drawn[np.arange(n), places[drawn].argmin(axis=1)]])

            return breeding.batch(breed, self.batch_size, rows)

        return in_batches(self.batch_size, batch, problem, archive, seed)
