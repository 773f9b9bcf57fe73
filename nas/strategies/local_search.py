"""Local search: White, Nolen, Savani, "Exploring the loss landscape in neural architecture search" (2005.02960).

For several objectives it is Pareto local search: Paquete, Chiarandini, Stuetzle (2004).
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from nas.archive import Archive
from nas.problem import Genes, Problem
from nas.strategies._breeding import completed
from nas.strategies._candidates import Seen, in_batches, newcomers
from nas.strategies._role import Strategy
from nas.strategies.nsga2 import judged, rank


class LocalSearch(Strategy):
    """Evaluates the neighbours of what is best so far, which differ from it in one decision, until none is left.

    Then it starts anew from random architectures. The best are the front, those with more room around them first; with
    one objective it is the best architecture. A neighbourhood is visited in random order and in batches, each of which
    goes on from the best then known, so that a better neighbour is followed before all are evaluated.
    """

    initial: int = Field(default=20, ge=1)
    """Random architectures at first, in whole batches."""
    batch_size: int = Field(default=10, ge=1)
    """Neighbours at a time."""

    def ask(self, problem: Problem, archive: Archive, seed: int) -> Genes:
        """The rest of the current batch."""

        def batch(number: int, rows: Genes, rng: np.random.Generator) -> Genes:
            if len(rows) < self.initial:
                return newcomers(problem, rows, rng, self.batch_size)
            ranks, crowding = rank(*judged(problem, archive, len(rows)))
            best = np.lexsort((-crowding, ranks))[: int((ranks == 0).sum())]
            found = self._unvisited(problem, rows, best, rng)
            return completed(problem, rows, found, self.batch_size, rng)

        return in_batches(self.batch_size, batch, problem, archive, seed)

    def _unvisited(self, problem: Problem, rows: Genes, best: np.ndarray, rng: np.random.Generator) -> Genes:
        """At most a batch of new feasible neighbours of the best, of the first of them first."""
        seen, found = Seen(rows), rows[:0]
        for parent in rows[best]:
            around = rng.permutation(neighbours(problem, parent))
            around = around[problem.feasible(around)]
            around = around[seen.new(around)]
            seen.add(around)
            found = np.concatenate([found, around])
            if len(found) >= self.batch_size:
                break
        return found[: self.batch_size]


def neighbours(problem: Problem, row: Genes) -> Genes:
    """Canonical rows that differ from a row [decisions] in one decision; inactive decisions give the row itself."""
    sizes = np.asarray(problem.space.sizes, dtype=np.int64)
    column = np.repeat(np.arange(len(sizes)), sizes)
    option = np.concatenate([np.arange(size) for size in sizes]) if len(sizes) else column
    changed = np.repeat(row[None], len(column), axis=0)
    changed[np.arange(len(column)), column] = option
    return problem.space.canonical(changed)
