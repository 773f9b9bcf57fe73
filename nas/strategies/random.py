"""Uniform random search."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from nas.archive import Archive
from nas.problem import Genes, Problem
from nas.strategies._candidates import in_batches, newcomers
from nas.strategies._role import Strategy


class Random(Strategy):
    """Draws uniformly over the feasible architectures, none twice: the yardstick for every other strategy."""

    batch_size: int = Field(default=32, ge=1)
    """How many candidates are proposed at a time; more can be evaluated in parallel."""

    def ask(self, problem: Problem, archive: Archive, seed: int) -> Genes:
        """The rest of the current batch."""

        def batch(number: int, rows: Genes, rng: np.random.Generator) -> Genes:
            return newcomers(problem, rows, rng, self.batch_size)

        return in_batches(self.batch_size, batch, problem, archive, seed)
