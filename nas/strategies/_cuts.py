"""What strategies share that begin with the largest architecture and take things away."""

from __future__ import annotations

import numpy as np

from nas.archive import Archive
from nas.problem import Floats, Genes, Problem
from nas.strategies._breeding import Breeding, completed
from nas.strategies._candidates import Seen, in_batches
from nas.strategies.local_search import neighbours
from nas.strategies.nsga2 import judged, rank


def size(problem: Problem, rows: Genes) -> Floats:
    """The cost [n] by which rows [n, decisions] are large or small; zeros where no cost is known.

    The first bounded one, else the first objective that is a known cost, else the first known one.
    """
    costs = problem.costs(rows)
    name = next((name for name in (*problem.constraints, *problem.objectives, *costs) if name in costs), None)
    return np.zeros(len(rows)) if name is None else np.asarray(costs[name], dtype=float)


def largest(problem: Problem) -> Genes:
    """The row [decisions] that no change of one decision makes larger, from the first option of each."""
    row = problem.space.canonical(np.zeros((1, len(problem.space.decisions)), dtype=np.int64))
    while True:
        around = np.concatenate([row, neighbours(problem, row[0])])
        best = int(size(problem, around).argmax())
        if best == 0:
            return np.asarray(row[0])
        row = around[best : best + 1]


def smaller(problem: Problem, row: Genes) -> Genes:
    """The neighbours [n, decisions] of a row that cost less, in the order of the decisions."""
    around = neighbours(problem, row)
    return around[size(problem, around) < size(problem, row[None])[0]]


def continued(problem: Problem, archive: Archive, path: Genes, batch_size: int, seed: int) -> Genes:
    """The rest of the batch: of the rows of a path in their order, and beyond its end of mutations of the front."""

    def batch(number: int, rows: Genes, rng: np.random.Generator) -> Genes:
        found = path[Seen(rows).new(path)][:batch_size]
        if len(found) or not len(rows):
            return completed(problem, rows, found, batch_size, rng)
        front = rows[rank(*judged(problem, archive, len(rows)))[0] == 0]
        breeding = Breeding(problem, rng)
        return breeding.batch(lambda n: breeding.mutate(front[rng.integers(len(front), size=n)]), batch_size, rows)

    return in_batches(batch_size, batch, problem, archive, seed)
