"""FinerCut: Zhang et al., "FinerCut: Finer-grained Interpretable Layer Pruning" (arXiv:2405.18218)."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from nas.archive import Archive
from nas.problem import Floats, Genes, Problem
from nas.strategies._cuts import continued, largest, smaller
from nas.strategies._role import Strategy


class FinerCut(Strategy):
    """Begins with the largest architecture and cuts one thing after the other: what changes its outputs least.

    A cut changes one decision to a cheaper option. In a `transformer` whose blocks have `heads: {choice: [0, n]}` and
    `hidden: {choice: [0, m]}` each is one attention or one perceptron, as in the paper. All candidates of a step are
    compared with the largest network by their outputs on the calibration images, without labels; only what is cut is
    evaluated, where it is within the bounds. Evaluations beyond the last cut are spent on mutations of the front. Where
    there are no outputs to compare (in a table) each cut is random.
    """

    batch_size: int = Field(default=10, ge=1)
    """Evaluations between two looks at the archive."""

    def ask(self, problem: Problem, archive: Archive, seed: int) -> Genes:
        """The next cuts."""
        return continued(problem, archive, cuts(problem, seed, self.evaluations), self.batch_size, seed)


def cuts(problem: Problem, seed: int, limit: int) -> Genes:
    """The largest architecture and what each cut leaves of it, without those out of bounds: [at most limit, decisions].

    Each step takes, of all architectures that are one cut smaller, the one nearest to the largest by its outputs.
    """
    start = row = largest(problem)
    rng = np.random.default_rng([seed, 0])
    path = [row] if problem.feasible(row[None])[0] else []
    while len(path) < limit and len(candidates := smaller(problem, row)):
        row = candidates[_change(problem, start, candidates, rng).argmin()]
        if problem.feasible(row[None])[0]:
            path.append(row)
    return np.array(path, dtype=np.int64).reshape(len(path), len(start))


def _change(problem: Problem, start: Genes, rows: Genes, rng: np.random.Generator) -> Floats:
    """How far the outputs of rows are from those of the start [n]; random where there are none."""
    return rng.random(len(rows)) if problem.distance is None else problem.distance(start, rows)
