"""Tree-structured Parzen estimator: Bergstra et al., "Algorithms for hyper-parameter optimization" (2011)."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from nas.archive import Archive
from nas.problem import Genes, Problem
from nas.strategies._breeding import completed
from nas.strategies._candidates import in_batches, newcomers
from nas.strategies._optuna import STARTUP, load, proposed
from nas.strategies._role import Strategy


class Tpe(Strategy):
    """Optuna's `TPESampler`: options that are likelier among the good trials than among the others.

    For several objectives the good are whole ranks, then those of largest hypervolume (Ozaki et al. 2020). Decisions
    are drawn together. Candidates of one batch count as pending for those after them. Needs the extra `compare`.
    """

    initial: int = Field(default=10, ge=1)
    """Random architectures at first, in whole batches."""
    batch_size: int = Field(default=10, ge=1)
    """Candidates at a time; fewer learn sooner, more can be evaluated in parallel."""
    candidates: int = Field(default=24, ge=1)
    """Draws from the good of which the most promising is proposed."""

    def ask(self, problem: Problem, archive: Archive, seed: int) -> Genes:
        """The rest of the current batch.

        Raises:
            OptunaMissingError: Optuna is not installed.
        """
        optuna = load(self.kind())

        def batch(number: int, rows: Genes, rng: np.random.Generator) -> Genes:
            if len(rows) < self.initial or not len(problem.space.decisions):
                return newcomers(problem, rows, rng, self.batch_size)
            sampler = optuna.samplers.TPESampler(
                n_startup_trials=STARTUP,
                n_ei_candidates=self.candidates,
                multivariate=True,
                constant_liar=True,
                seed=int(rng.integers(2**31)),
            )
            found = proposed(optuna, sampler, problem, archive.trials()[: len(rows)], self.batch_size)
            return completed(problem, rows, found, self.batch_size, rng)

        return in_batches(self.batch_size, batch, problem, archive, seed)
