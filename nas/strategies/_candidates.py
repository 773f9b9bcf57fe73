"""What strategies share: telling new candidates from known ones, and finding new feasible ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nas.archive import Archive
from nas.problem import Genes, Mask, Problem

ROUNDS = 32
"""Attempts of each kind at finding new candidates before a space counts as exhausted."""
FEW_ROUNDS = 4
"""Attempts at drawing uniformly from a space that is too large to be exhausted in this way."""
DRAWS = 4096
"""Most candidates of one attempt."""

Batch = Callable[[int, Genes, np.random.Generator], Genes]


class Seen:
    """A set of rows."""

    def __init__(self, matrix: Genes) -> None:
        self._rows = {row.tobytes() for row in np.ascontiguousarray(matrix, dtype=np.int64)}

    def __len__(self) -> int:
        return len(self._rows)

    def new(self, matrix: Genes) -> Mask:
        """Mask [n] of the rows that are not in the set, the first of equal ones only."""
        first: dict[bytes, int] = {}
        for index, row in enumerate(np.ascontiguousarray(matrix, dtype=np.int64)):
            first.setdefault(row.tobytes(), index)
        mask = np.zeros(len(matrix), dtype=np.bool_)
        mask[[index for key, index in first.items() if key not in self._rows]] = True
        return mask

    def add(self, matrix: Genes) -> None:
        """Puts the rows into the set."""
        self._rows.update(row.tobytes() for row in np.ascontiguousarray(matrix, dtype=np.int64))


def in_batches(size: int, batch: Batch, problem: Problem, archive: Archive, seed: int) -> Genes:
    """The rest of the batch that the archive is in the middle of.

    Batch g is `batch(g, rows of the first g * size trials, rng)`, so that it can be made again at any point of itself.
    One that came out short, because new candidates are rare, is filled up one by one.
    """
    number = len(archive) // size
    rows = archive.matrix().reshape(len(archive), len(problem.space.decisions))
    proposed = batch(number, rows[: number * size], np.random.default_rng([seed, number]))
    pending = proposed[Seen(rows).new(proposed)]
    if len(pending) or len(archive) == 0:
        return pending
    return newcomers(problem, rows, np.random.default_rng([seed, number, len(archive)]), 1)


def newcomers(problem: Problem, known: Genes, rng: np.random.Generator, n: int) -> Genes:
    """At most n distinct feasible rows that are not known; fewer where no more can be found.

    Up to about a hundred thousand architectures, an empty result means with near certainty that there is none.

    Raises:
        InfeasibleError: nothing is known and no feasible candidate was found.
    """
    seen, pool = Seen(known), known
    for attempt in range(2 * ROUNDS):
        missing = len(known) + n - len(pool)
        if missing == 0 or len(seen) >= problem.space.count:
            break
        drawn = _draw(problem, pool, rng, missing, attempt)
        drawn = drawn[problem.feasible(drawn)]
        drawn = drawn[seen.new(drawn)][:missing]
        seen.add(drawn)
        pool = np.concatenate([pool, drawn])
    return pool[len(known) :]


def _draw(problem: Problem, pool: Genes, rng: np.random.Generator, n: int, attempt: int) -> Genes:
    """Candidates: uniform ones at first, more with each attempt, then neighbours of the feasible in the pool."""
    if len(pool) == 0:
        return problem.sample_feasible(rng, 2 * n)
    space = problem.space
    size = max(2 * n, min(space.count, DRAWS, 2 * n * 4 ** min(attempt, 8)))
    if attempt < (ROUNDS if space.count <= ROUNDS * DRAWS else FEW_ROUNDS):
        return space.sample(rng, size)
    parents = pool[rng.integers(len(pool), size=size)]
    return space.canonical(space.mutate(parents, rng, 1 / max(1, len(space.decisions))))
