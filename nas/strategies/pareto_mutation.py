"""Mutation of the front: the evolution of LEMONADE (Elsken, Metzen, Hutter, arXiv:1804.09081, algorithm 1)."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from nas.archive import Archive
from nas.problem import Floats, Genes, Problem
from nas.strategies._breeding import Breeding
from nas.strategies._candidates import in_batches, newcomers
from nas.strategies._role import Strategy
from nas.strategies.nsga2 import judged
from nas.strategies.nsga2 import rank as ranked


class ParetoMutation(Strategy):
    """Children of the present Pareto front alone, most of them where it is sparse.

    As published, a parent is drawn with a probability inverse to the density of the front around it, by a kernel
    density estimate. Not taken over: inherited weights, which belong to training, and the second sampling of children
    by cheap objectives, as bounds and repeats are refused here. The density is that in all objectives, each over its
    extent.
    """

    initial: int = Field(default=20, ge=1)
    """Random architectures at first, in whole batches."""
    batch_size: int = Field(default=10, ge=1)
    """Children at a time."""
    bandwidth: float = Field(default=0.1, gt=0)
    """Of the density, in shares of an objective's extent on the front."""
    mutation_rate: float | None = Field(default=None, gt=0, le=1)
    """Probability that a decision changes; one decision of each child on average if not given."""

    def ask(self, problem: Problem, archive: Archive, seed: int) -> Genes:
        """The rest of the current batch."""

        def batch(number: int, rows: Genes, rng: np.random.Generator) -> Genes:
            if len(rows) < self.initial:
                return newcomers(problem, rows, rng, self.batch_size)
            values, violations = judged(problem, archive, len(rows))
            front = np.flatnonzero(ranked(values, violations)[0] == 0)
            chances, breeding = (
                sparseness(values[front], self.bandwidth),
                Breeding(problem, rng, 0.0, self.mutation_rate),
            )

            def breed(n: int) -> Genes:
                return breeding.mutate(rows[rng.choice(front, size=n, p=chances)])

            return breeding.batch(breed, self.batch_size, rows)

        return in_batches(self.batch_size, batch, problem, archive, seed)


def sparseness(values: Floats, bandwidth: float) -> Floats:
    """Chances [n] inverse to the density at each of the values [n, m], scaled to their extent; equal without one."""
    if not np.isfinite(values).all():
        return np.full(len(values), 1 / len(values))
    extent = np.ptp(values, axis=0)
    scaled = (values - values.min(axis=0)) / np.where(extent > 0, extent, 1.0) / bandwidth
    squares = np.square(scaled[:, None] - scaled).sum(axis=2)
    chances = 1 / np.exp(-squares / 2).sum(axis=1)
    return np.asarray(chances / chances.sum())
