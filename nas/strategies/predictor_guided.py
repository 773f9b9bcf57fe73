"""Search guided by predictors: lightly trained ones inside an evolutionary loop, refitted every round.

Once-for-All (arXiv:1908.09791, section 3.4) evolves on a predictor of accuracy and a table of latency; LLaMA-NAS
(arXiv:2405.18377) and SimQ-NAS (arXiv:2312.13301) repeat it: evaluate some, fit predictors to what is evaluated, let
NSGA-II search thousands of candidates on the predictions, evaluate the most promising, and so on.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from nas.archive import Archive
from nas.problem import Genes, Problem
from nas.strategies._breeding import Breeding, completed
from nas.strategies._candidates import Seen, in_batches, newcomers
from nas.strategies._improvement import Improvement
from nas.strategies._outlook import Expected, Outlook
from nas.strategies._role import Strategy
from nas.strategies.nsga2 import rank, tournament
from predictors._role import Predictor
from predictors.gaussian_process import GaussianProcess


class PredictorGuided(Strategy):
    """Evolves many candidates on predictions, and evaluates those that should improve the front most.

    Costs that are known without evaluation are not predicted. Rounds evolve an optimistic front by NSGA-II; of all its
    candidates the batch is taken whose joint expected improvement of the hypervolume is greatest, so that proposals are
    neither dominated nor alike. Bounds on costs are kept; those on predicted values weigh a candidate by the
    probability of meeting them.
    """

    initial: int = Field(default=20, ge=1)
    """Random architectures that the first predictors are fitted to, in whole batches."""
    batch_size: int = Field(default=10, ge=1)
    """Evaluations between two fits."""
    predictor: Predictor = GaussianProcess(optimized=100, iterations=10)
    """Of each value that is not a known cost; it learns ratios where all values are positive."""
    population: int = Field(default=100, ge=2)
    """Candidates in one generation on the predictions."""
    generations: int = Field(default=10, ge=1)
    """Of each round."""
    optimism: float = Field(default=1.0, ge=0)
    """Standard deviations below the prediction at which the evolution values a candidate."""

    def ask(self, problem: Problem, archive: Archive, seed: int) -> Genes:
        """The rest of the current round."""

        def batch(number: int, rows: Genes, rng: np.random.Generator) -> Genes:
            outlook = None
            if len(rows) >= self.initial:
                outlook = Outlook.of(problem, archive.trials()[: len(rows)], self.predictor, seed)
            if outlook is None:
                return newcomers(problem, rows, rng, self.batch_size)
            return completed(problem, rows, self._best(outlook, rows, rng), self.batch_size, rng)

        return in_batches(self.batch_size, batch, problem, archive, seed)

    def _best(self, outlook: Outlook, rows: Genes, rng: np.random.Generator) -> Genes:
        """At most a batch of new rows, of greatest joint expected improvement."""
        pool, expected = self._evolve(outlook, rows, rng)
        new = Seen(rows).new(pool)
        pool, expected = pool[new], expected[new]
        if len(pool) == 0:
            return pool
        front = outlook.values[outlook.front]
        improvement = Improvement(outlook.values, front, expected.mean, expected.std, expected.likely)
        return pool[improvement.choose(self.batch_size)]

    def _evolve(self, outlook: Outlook, rows: Genes, rng: np.random.Generator) -> tuple[Genes, Expected]:
        """All candidates of a round, with what is expected of them, from the front and newcomers."""
        breeding = Breeding(outlook.problem, rng)
        fresh = newcomers(outlook.problem, rows, rng, self.population)
        pool = np.concatenate([outlook.rows[outlook.front], fresh])
        seen, expected = Seen(np.concatenate([rows, pool])), outlook(pool)
        living = np.arange(len(pool))
        for _ in range(self.generations):
            living, parents = self._survivors(expected, living, rng)
            children = breeding.cross(pool[parents[0]], pool[parents[1]])
            children = children[outlook.problem.feasible(children)]
            children = children[seen.new(children)]
            seen.add(children)
            living = np.append(living, np.arange(len(pool), len(pool) + len(children)))
            pool, expected = np.concatenate([pool, children]), expected.beside(outlook(children))
        return pool, expected

    def _survivors(
        self, expected: Expected, living: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """The numbers of those that survive a generation, and of a population of pairs of parents [2, population]."""
        seen = expected[living]
        ranks, crowding = rank(seen.mean - self.optimism * seen.std, seen.violations)
        kept = np.lexsort((-crowding, ranks))[: self.population]
        ranking = ranks[kept], crowding[kept]
        pairs = [living[kept][tournament(ranking, self.population, rng)] for _ in range(2)]
        return living[kept], np.stack(pairs)
