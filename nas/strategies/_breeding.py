"""Breeding: children that are new and within the bounds on costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nas.problem import Genes, Problem
from nas.strategies._candidates import Seen, newcomers

TRIES = 10
"""How often children that are known or out of bounds are bred again."""
Breed = Callable[[int], Genes]
Propose = Callable[[int, np.ndarray], Genes]


@dataclass(frozen=True)
class Breeding:
    """Crossover and mutation over a problem's space.

    Attributes:
        problem: with the space and the bounds.
        rng: of all that is random.
        crossover_rate: share of children that have two parents.
        mutation_rate: probability that a decision changes; one decision of each child on average if not given.
    """

    problem: Problem
    rng: np.random.Generator
    crossover_rate: float = 0.9
    mutation_rate: float | None = None

    def mutate(self, rows: Genes) -> Genes:
        """Canonical rows that each differ from their parent."""
        space = self.problem.space
        rate = self.mutation_rate or 1 / max(1, len(space.decisions))
        return space.canonical(space.mutate(rows, self.rng, rate))

    def cross(self, first: Genes, second: Genes) -> Genes:
        """One child of each pair of parents, mutated."""
        crossed = self.problem.space.crossover(first, second, self.rng)
        both = self.rng.random(len(first)) < self.crossover_rate
        return self.mutate(np.where(both[:, None], crossed, first))

    def children(self, breed: Breed, n: int, seen: Seen) -> Genes:
        """At most n new feasible children, which join the seen.

        Those that are known are mutated again, those out of bounds are bred again.
        """
        children = breed(n)
        accepted = children[:0]
        for _ in range(TRIES):
            children = children[self.problem.feasible(children)]
            new = seen.new(children)
            seen.add(children[new])
            accepted = np.concatenate([accepted, children[new]])
            if len(accepted) == n:
                break
            again = self.mutate(children[~new])
            children = np.concatenate([again, breed(n - len(accepted) - len(again))])
        return accepted

    def batch(self, breed: Breed, n: int, rows: Genes) -> Genes:
        """n rows that are none of those known: children, and newcomers where too few are bred."""
        found = self.children(breed, n, Seen(rows))
        return completed(self.problem, rows, found, n, self.rng)


def placed(problem: Problem, known: Genes, n: int, propose: Propose) -> Genes:
    """At most n new feasible rows, one for each place of a batch; places whose row is neither are asked again.

    Args:
        problem: with the space and the bounds.
        known: rows [k, decisions] that are not new.
        n: places.
        propose: rows [p, decisions] for the number of the attempt and the places [p] that are still empty.
    """
    seen, found = Seen(known), dict[int, Genes]()
    for attempt in range(TRIES):
        empty = np.array([place for place in range(n) if place not in found])
        if not len(empty):
            break
        rows = problem.space.canonical(propose(attempt, empty))
        kept = problem.feasible(rows) & seen.new(rows)
        seen.add(rows[kept])
        found |= dict(zip(empty[kept].tolist(), rows[kept], strict=True))
    return np.array([found[place] for place in sorted(found)], dtype=np.int64).reshape(-1, known.shape[1])


def completed(problem: Problem, rows: Genes, found: Genes, n: int, rng: np.random.Generator) -> Genes:
    """What was found, and newcomers up to n where there are any."""
    known = np.concatenate([rows, found])
    return np.concatenate([found, newcomers(problem, known, rng, n - len(found))])
