"""NSGA-II: Deb et al., "A fast and elitist multiobjective genetic algorithm" (2002)."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from nas import pareto
from nas.archive import OK, Archive
from nas.problem import Floats, Genes, Problem
from nas.strategies._breeding import Breeding
from nas.strategies._candidates import in_batches, newcomers
from nas.strategies._role import Strategy

Ranking = tuple[np.ndarray, np.ndarray]


class Nsga2(Strategy):
    """Evolves a population towards the Pareto front by rank and crowding; never evaluates an architecture twice.

    The first population is feasible by construction. Children that are known are mutated again, children out of bounds
    are bred again, and newcomers from the feasible take the places that stay empty.
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
            survivors, ranking = self._survivors(problem, archive, generation)
            parents, breeding = rows[survivors], Breeding(problem, rng, self.crossover_rate, self.mutation_rate)

            def breed(n: int) -> Genes:
                return breeding.cross(parents[tournament(ranking, n, rng)], parents[tournament(ranking, n, rng)])

            return breeding.batch(breed, self.population, rows)

        return in_batches(self.population, batch, problem, archive, seed)

    def _survivors(self, problem: Problem, archive: Archive, generations: int) -> tuple[np.ndarray, Ranking]:
        """Numbers of the trials that survive these generations, with their ranks and crowding distances."""
        values, violations = judged(problem, archive, generations * self.population)
        kept = np.arange(self.population)
        for generation in range(1, generations):
            born = np.arange(generation * self.population, (generation + 1) * self.population)
            pool = np.concatenate([kept, born])
            ranks, crowding = rank(values[pool], violations[pool])
            kept = pool[np.lexsort((-crowding, ranks))[: self.population]]
        return kept, rank(values[kept], violations[kept])


def judged(problem: Problem, archive: Archive, n: int) -> tuple[Floats, Floats]:
    """Minimized values [n, m] and violations [n] of the first n trials; failures are worst in both."""
    values = np.full((n, len(problem.objectives)), np.inf)
    violations = np.full(n, np.inf)
    for trial in archive.trials()[:n]:
        if trial.state == OK:
            values[trial.number] = problem.minimized(trial.values)
            violations[trial.number] = problem.violation(trial.values)
    return values, violations


def rank(values: Floats, violations: Floats) -> Ranking:
    """Ranks [n] under constraint domination, and crowding distances [n] within each rank."""
    ranks = pareto.non_dominated_sort(values, violations)
    return ranks, pareto.crowding_distances(values, ranks)


def tournament(ranking: Ranking, n: int, rng: np.random.Generator) -> np.ndarray:
    """Indices [n] of the better of two random ones: lower rank, then more room around it; the first if they tie."""
    ranks, crowding = ranking
    first, second = rng.integers(len(ranks), size=(2, n))
    better = (ranks[second] < ranks[first]) | ((ranks[second] == ranks[first]) & (crowding[second] > crowding[first]))
    return np.where(better, second, first)
