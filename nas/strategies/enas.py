"""ENAS's controller: Pham et al., "Efficient Neural Architecture Search via Parameter Sharing" (arXiv:1802.03268)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from nas.archive import Archive
from nas.problem import Floats, Genes, Problem
from nas.strategies._breeding import completed, placed
from nas.strategies._candidates import in_batches, newcomers
from nas.strategies._replay import identity, replayed
from nas.strategies._role import Strategy
from nas.strategies._scalarized import rewards, weights
from nas.strategies.nsga2 import judged

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nas.strategies._controller import Loss, Trained


RATIO = 2.0
"""Greatest weight of an architecture for a direction that is likelier to draw it than the one that did."""


class Enas(Strategy):
    """An LSTM draws one decision after the other, and learns from the rewards of what it drew by REINFORCE.

    As published: logits bounded by tanh, a moving average of rewards as the baseline, the entropy of the samples as a
    bonus, Adam (section 2.2). With shared weights the supernet is trained before, by `training`; `random` on the same
    is the published yardstick. Published controllers draw many thousands of times, as shared weights make a reward
    cheap; this one has to learn from an archive. So rates are higher, there are several steps on each batch, and what
    is drawn for one direction between the objectives teaches the others: a direction is the controller's first input,
    one for each place in a batch; a reward is the share of all trials that are worse in a direction or out of bounds;
    each counts as much as its direction would now draw it, over how much the drawing one did (importance sampling).

    The memory (Adam and Lorraine, arXiv:1904.00438) is all that was drawn before: the last state is trained to tell its
    decisions, so that it depends on them. That paper's abstract gives the purpose alone; the loss is ours.
    """

    batch_size: int = Field(default=10, ge=1)
    """Architectures at a time, each in a direction of its own; the first are random."""
    hidden: int = Field(default=32, ge=1)
    """Width of the LSTM."""
    learning_rate: float = Field(default=0.02, gt=0)
    """Of Adam. The published 0.00035 is for many thousands of rewards."""
    steps: int = Field(default=5, ge=1)
    """Of Adam on each batch."""
    baseline_decay: float = Field(default=0.9, ge=0, lt=1)
    """Of the moving average, for each batch."""
    entropy: float = Field(default=0.01, ge=0)
    """Weight of the entropy."""
    memory: int = Field(default=32, ge=0)
    """Architectures of the memory in each step; none for the controller without it."""
    memory_weight: float = Field(default=0.1, ge=0)
    """Weight of the loss on them."""

    def ask(self, problem: Problem, archive: Archive, seed: int) -> Genes:
        """The rest of the current batch."""

        def batch(number: int, rows: Genes, rng: np.random.Generator) -> Genes:
            if number == 0 or not len(problem.space.decisions):
                return newcomers(problem, rows, rng, self.batch_size)
            controller, toward = self._trained(problem, archive, number, seed).controller, self._toward(problem)

            def propose(attempt: int, places: np.ndarray) -> Genes:
                return controller.sample(toward[places], rng)  # type: ignore[operator]

            found = placed(problem, rows, self.batch_size, propose)
            return completed(problem, rows, found, self.batch_size, rng)

        return in_batches(self.batch_size, batch, problem, archive, seed)

    def _toward(self, problem: Problem) -> Floats:
        """The direction [batch_size, m] of each place of a batch."""
        return weights(len(problem.objectives), self.batch_size)

    def _trained(self, problem: Problem, archive: Archive, batches: int, seed: int) -> Trained:
        """The controller after these batches."""
        from nas.strategies._controller import Sequential, Trained

        values, violations = judged(problem, archive, batches * self.batch_size)
        rows, toward = archive.matrix(), self._toward(problem)

        def first() -> Trained:
            rng = np.random.default_rng([seed, 1])
            controller = Sequential(np.asarray(problem.space.sizes), toward.shape[1], self.hidden, rng)
            return Trained.begun(controller, self.learning_rate)

        def step(state: Trained, number: int) -> Trained:
            known = (number + 1) * self.batch_size
            earned = rewards(values[:known], violations[:known], self.batch_size, toward)
            some = np.random.default_rng([seed, number, 2]).integers(known, size=self.memory)
            loss = self._loss(state.controller, rows[known - self.batch_size : known], rows[some], toward)
            return state.step(earned, self.baseline_decay, loss, self.steps)

        return replayed(identity(self, problem, seed), archive.trials(), self.batch_size, batches, first, step)

    def _loss(self, drew: nn.Module, drawn: Genes, remembered: Genes, toward: Floats) -> Loss:
        """REINFORCE with entropy on what a controller drew, for every direction, and what is not remembered."""
        import torch

        n, k = len(drawn), len(toward)
        every, directions = drawn.repeat(k, axis=0), np.tile(toward, (n, 1))
        with torch.no_grad():
            before = drew.score(toward[np.arange(n) % k], drawn)[0]  # type: ignore[operator]

        def loss(controller: nn.Module, advantages: Tensor) -> Tensor:
            likely, entropy = (found.reshape(n, k) for found in controller.score(directions, every))  # type: ignore[operator]
            ratio = (likely.detach() - before[:, None]).exp().clamp(max=RATIO)
            found = -(ratio * advantages * likely).mean() - self.entropy * entropy.mean()
            if len(remembered) and self.memory_weight:
                spread = toward[np.arange(len(remembered)) % k]
                found = found + self.memory_weight * controller.forgotten(spread, remembered)  # type: ignore[operator]
            return found

        return loss
