"""Gaussian processes: Snoek, Larochelle, Adams, "Practical Bayesian optimization" (arXiv:1206.2944)."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from nas.archive import Archive
from nas.problem import Genes, Problem
from nas.strategies._breeding import completed
from nas.strategies._candidates import in_batches, newcomers
from nas.strategies._optuna import STARTUP, load, proposed
from nas.strategies._role import Strategy


class Gp(Strategy):
    """Optuna's `GPSampler`: the greatest expected improvement, of the hypervolume where there are several objectives.

    A Matern kernel over whether decisions are equal, refitted for every candidate: some tenths of a second each, and
    more with the cube of the trials. `predictor_guided` is this idea for whole populations. Needs the extra `compare`.
    """

    initial: int = Field(default=10, ge=1)
    """Random architectures at first, in whole batches."""
    batch_size: int = Field(default=1, ge=1)
    """Candidates at a time, those before pending for those after."""

    def ask(self, problem: Problem, archive: Archive, seed: int) -> Genes:
        """The rest of the current batch.

        Raises:
            OptunaMissingError: Optuna is not installed.
        """
        optuna = load(self.kind())

        def batch(number: int, rows: Genes, rng: np.random.Generator) -> Genes:
            if len(rows) < self.initial or not len(problem.space.decisions):
                return newcomers(problem, rows, rng, self.batch_size)
            sampler = optuna.samplers.GPSampler(
                n_startup_trials=STARTUP, warn_independent_sampling=False, seed=int(rng.integers(2**31))
            )
            found = proposed(optuna, sampler, problem, archive.trials()[: len(rows)], self.batch_size)
            return completed(problem, rows, found, self.batch_size, rng)

        return in_batches(self.batch_size, batch, problem, archive, seed)
