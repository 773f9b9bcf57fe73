"""Generative synthesis: Wong et al., "FermiNets" (arXiv:1809.05989); its use for TurboViT (arXiv:2308.11421)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import Field

from nas.archive import Archive
from nas.problem import Floats, Genes, Problem
from nas.strategies._breeding import completed
from nas.strategies._candidates import Seen, in_batches, newcomers
from nas.strategies._outlook import Outlook
from nas.strategies._role import Strategy
from nas.strategies._scalarized import extent, scalarized, weights
from predictors._role import Predictor
from predictors.gaussian_process import GaussianProcess


class Generative(Strategy):
    """A generator of architectures, and an inquisitor that probes what it generates and changes it accordingly.

    The papers state the problem: a generator G of networks from seeds s, of greatest performance U(G(s)) subject to an
    indicator 1_r(G(s)) = 1 of the requirements, approached by turns: G generates, the inquisitor probes what it made
    and learns, G is updated. What these are is defined here, from summaries of the papers alone: G is a probability of
    each option of each decision, one such generator for each direction between the objectives; the inquisitor is
    predictors of what was evaluated; the indicator is being within the bounds, on costs for certain and on predicted
    values more likely than not; and the update is the cross-entropy method (Rubinstein 1999): G moves towards the best
    that it generated. The best new architecture of each generator is evaluated, then the inquisitor is fitted anew.
    """

    initial: int = Field(default=20, ge=1)
    """Random architectures that the first inquisitor is fitted to, in whole batches."""
    batch_size: int = Field(default=10, ge=1)
    """Evaluations at a time, each by a generator of its own direction."""
    predictor: Predictor = GaussianProcess(optimized=100, iterations=10)
    """The inquisitor's, of each value that is not a known cost."""
    cycles: int = Field(default=5, ge=1)
    """Turns of generator and inquisitor between two batches."""
    generated: int = Field(default=50, ge=2)
    """Architectures of each generator in one turn."""
    elite: float = Field(default=0.2, gt=0, le=1)
    """Share of them that the generator moves towards."""
    rate: float = Field(default=0.5, gt=0, le=1)
    """How far it moves."""
    optimism: float = Field(default=1.0, ge=0)
    """Standard deviations below the prediction at which the inquisitor values an architecture."""

    def ask(self, problem: Problem, archive: Archive, seed: int) -> Genes:
        """The rest of the current batch."""

        def batch(number: int, rows: Genes, rng: np.random.Generator) -> Genes:
            outlook = None
            if len(rows) >= self.initial:
                outlook = Outlook.of(problem, archive.trials()[: len(rows)], self.predictor, seed)
            if outlook is None:
                return newcomers(problem, rows, rng, self.batch_size)
            return completed(problem, rows, self._synthesized(outlook, rows, rng), self.batch_size, rng)

        return in_batches(self.batch_size, batch, problem, archive, seed)

    def _synthesized(self, outlook: Outlook, rows: Genes, rng: np.random.Generator) -> Genes:
        """At most a batch of new rows: of each generator the best that no one before it took."""
        inquisitor = Inquisitor(outlook, weights(len(outlook.problem.objectives), self.batch_size), self.optimism)
        generators = self._begun(inquisitor)
        pools, scores = list[Genes](), list[Floats]()
        for _ in range(self.cycles):
            pools.append(generated := generators.generate(self.generated, rng))
            scores.append(probed := inquisitor.probe(generated))
            generators.move(generated, probed, max(1, round(self.elite * self.generated)), self.rate)
        pool, scored = np.concatenate(pools, axis=1), np.concatenate(scores, axis=1)
        seen, found = Seen(rows), rows[:0]
        for candidates, own in zip(pool, scored, strict=True):
            order = np.argsort(own, kind="stable")
            order = order[np.isfinite(own[order])]
            best = candidates[order[seen.new(candidates[order])]][:1]
            seen.add(best)
            found = np.concatenate([found, best])
        return found

    def _begun(self, inquisitor: Inquisitor) -> Generators:
        """Generators near what is best so far in their directions, and open for everything else."""
        outlook = inquisitor.outlook
        generators = Generators(outlook.problem, self.batch_size)
        known = np.broadcast_to(outlook.rows, (self.batch_size, *outlook.rows.shape))
        own = scalarized(outlook.values, inquisitor.toward, *inquisitor.extent).T
        generators.move(known, own, min(len(outlook.rows), 5), 0.5)
        return generators


@dataclass(frozen=True)
class Inquisitor:
    """Predicted values of what is generated, in the direction of its generator.

    Attributes:
        outlook: what the evaluated tell of others.
        toward: directions [generators, m].
        optimism: standard deviations below the prediction.
    """

    outlook: Outlook
    toward: Floats
    optimism: float

    @property
    def extent(self) -> tuple[Floats, Floats]:
        """Of the front's objectives."""
        return extent(self.outlook.values[self.outlook.front])

    def probe(self, generated: Genes) -> Floats:
        """A score [generators, n] of each row [generators, n, decisions], less is better; infinite where 1_r is 0."""
        rows = generated.reshape(-1, generated.shape[2])
        expected = self.outlook(rows)
        hoped = (expected.mean - self.optimism * expected.std).reshape(*generated.shape[:2], -1)
        allowed = (expected.violations == 0) & self.outlook.problem.feasible(rows)
        scores = np.stack([scalarized(v, w[None], *self.extent)[:, 0] for v, w in zip(hoped, self.toward, strict=True)])
        return np.where(allowed.reshape(scores.shape) & np.isfinite(scores), scores, np.inf)


class Generators:
    """Independent probabilities of the options of each decision: [generators, decisions, options]."""

    def __init__(self, problem: Problem, n: int) -> None:
        self.space = problem.space
        sizes = np.asarray(problem.space.sizes, dtype=np.int64)
        self._options = np.arange(sizes.max())
        able = self._options < sizes[:, None]
        self.chances = np.broadcast_to(able / sizes[:, None], (n, *able.shape)).copy()

    def generate(self, n: int, rng: np.random.Generator) -> Genes:
        """Canonical rows [generators, n, decisions]."""
        upper = self.chances.cumsum(axis=2)
        drawn = rng.random((len(upper), n, upper.shape[1], 1)) * upper[:, None, :, -1:]
        rows = (drawn >= upper[:, None]).sum(axis=3)
        return self.space.canonical(rows.reshape(-1, rows.shape[2])).reshape(rows.shape)

    def move(self, rows: Genes, scores: Floats, elite: int, rate: float) -> None:
        """Towards the elite of least score among the rows [generators, n, decisions]; not where all are refused."""
        for own, candidates, score in zip(self.chances, rows, scores, strict=True):
            best = np.argsort(score, kind="stable")[:elite]
            best = best[np.isfinite(score[best])]
            if len(best):
                shares = (candidates[best][:, :, None] == self._options).mean(axis=0)
                own += rate * (shares - own)
