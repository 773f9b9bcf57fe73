"""Network transformation: Cai et al., "Efficient Architecture Search by Network Transformation" (arXiv:1707.04873)."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from nas.archive import Archive
from nas.problem import Floats, Genes, Mask, Problem
from nas.strategies._breeding import completed, placed
from nas.strategies._candidates import in_batches
from nas.strategies._replay import identity, replayed
from nas.strategies._role import Strategy
from nas.strategies._scalarized import extent, rewards, scalarized, weights
from nas.strategies.nsga2 import judged

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nas.strategies._controller import Loss, Trained


class NetworkTransformation(Strategy):
    """Grows the best networks so far: an actor that has read one decides what of it becomes wider or deeper.

    The first batch holds the smallest network and random ones. A child comes from one of the best in the direction of
    its place in the batch. As published, a bidirectional LSTM reads the network; a sigmoid for each width decides
    whether it takes the next larger option, a softmax over the depths which one does, if any; both learn by REINFORCE.
    The reward is not a function of accuracy alone, but the share of all trials that are worse in the child's direction.
    Decisions between options that are no numbers do not grow: only the random networks differ in them.

    Under shared weights a child inherits its parent's by the slices that both have in common. Networks that stand alone
    inherit them by `searchspaces.net2net`.
    """

    batch_size: int = Field(default=10, ge=1)
    """Architectures at a time."""
    hidden: int = Field(default=32, ge=1)
    """Width of the LSTM in each direction."""
    learning_rate: float = Field(default=0.01, gt=0)
    """Of Adam; published is 0.001 over many more rewards."""
    baseline_decay: float = Field(default=0.9, ge=0, lt=1)
    """Of the moving average of rewards, for each batch."""

    def ask(self, problem: Problem, archive: Archive, seed: int) -> Genes:
        """The rest of the current batch."""

        def batch(number: int, rows: Genes, rng: np.random.Generator) -> Genes:
            growth = Growth(problem)
            if number == 0 or not growth.able.any():
                least = growth.least if number == 0 else rows[:0]
                return completed(problem, rows, least, self.batch_size, rng)
            actors = self._trained(problem, archive, number, seed).controller
            toward = weights(len(problem.objectives), self.batch_size)
            order = _order(*judged(problem, archive, len(rows)), toward)

            def propose(attempt: int, places: np.ndarray) -> Genes:
                """Children of the best in the direction of each place, then of the second, and so on."""
                parents = rows[order[min(attempt, len(order) - 1), places]]
                return growth.grown(parents, growth.drawn(actors, toward[places], parents, rng))

            found = placed(problem, rows, self.batch_size, propose)
            return completed(problem, rows, found, self.batch_size, rng)

        return in_batches(self.batch_size, batch, problem, archive, seed)

    def _trained(self, problem: Problem, archive: Archive, batches: int, seed: int) -> Trained:
        """The actors after these batches."""
        from nas.strategies._controller import Growing, Trained

        growth, sizes = Growth(problem), np.asarray(problem.space.sizes, dtype=np.int64)
        values, violations = judged(problem, archive, batches * self.batch_size)
        rows, toward = archive.matrix(), weights(len(problem.objectives), self.batch_size)

        def first() -> Trained:
            rng = np.random.default_rng([seed, 1])
            return Trained.begun(Growing(sizes, toward.shape[1], self.hidden, rng), self.learning_rate)

        def step(state: Trained, number: int) -> Trained:
            begin, end = number * self.batch_size, (number + 1) * self.batch_size
            earned = rewards(values[:end], violations[:end], self.batch_size, toward).diagonal()
            parents = growth.parents(rows[begin:end], rows[:begin])
            of = np.flatnonzero(parents >= 0)
            if not len(of):
                return state
            loss = growth.loss(toward[of], rows[parents[of]], rows[begin:end][of])
            return state.step(earned[of], self.baseline_decay, loss)

        name = identity(self, problem, seed, growth.orders, growth.deep.tolist())
        return replayed(name, archive.trials(), self.batch_size, batches, first, step)


class Growth:
    """Which decisions of a problem's space can grow, and what is next larger."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.orders = [_order_of(d, int(n)) for d, n in zip(problem.space.decisions, problem.space.sizes, strict=True)]
        self.able = np.array([order is not None for order in self.orders], dtype=np.bool_)
        self.deep = np.array([_is_depth(decision) for decision in problem.space.decisions], dtype=np.bool_)
        widest = max([int(size) for size in problem.space.sizes], default=1)
        self.places = np.zeros((len(self.orders), widest), dtype=np.int64)
        self.options = np.zeros_like(self.places)
        for number, order in enumerate(self.orders):
            self.options[number, : len(order or ())] = order or ()
            self.places[number, list(order or ())] = np.arange(len(order or ()))
        self.last = np.array([len(order or (0,)) - 1 for order in self.orders], dtype=np.int64)

    @property
    def least(self) -> Genes:
        """The smallest network [1, decisions], where it is within the bounds on costs."""
        row = self.problem.space.canonical(self.options[:, 0][None])
        return row[self.problem.feasible(row)]

    def place(self, rows: Genes) -> Genes:
        """The place of each option among those of its decision, the smallest first: [n, decisions]."""
        return self.places[np.arange(rows.shape[1]), rows]

    def grown(self, rows: Genes, grow: Mask) -> Genes:
        """The rows with the next larger options where they are to grow."""
        places = np.minimum(self.place(rows) + grow, self.last)
        return np.where(grow, self.options[np.arange(rows.shape[1]), places], rows)

    def open(self, rows: Genes) -> Mask:
        """Which decisions [n, decisions] have a larger option."""
        return self.able & (self.place(rows) < self.last)

    def parents(self, rows: Genes, known: Genes) -> np.ndarray:
        """The number [n] of the latest known row from which each came by the least growth; -1 where there is none."""
        found = np.full(len(rows), -1)
        for number, row in enumerate(rows):
            steps = self.place(row[None]) - self.place(known)
            child = ((steps == 0) | (steps == 1)).all(axis=1) & (known == row)[:, ~self.able].all(axis=1)
            child &= (steps == 1).any(axis=1)
            if child.any():
                amount = np.where(child, steps.sum(axis=1), np.iinfo(np.int64).max)
                found[number] = np.flatnonzero(amount == amount.min())[-1]
        return found

    def drawn(self, actors: nn.Module, toward: Floats, rows: Genes, rng: np.random.Generator) -> Mask:
        """What grows of each row [n, decisions]: widths one by one, at most one depth."""
        import torch

        with torch.no_grad():
            wider, deeper = (logits.double().numpy() for logits in actors(toward, rows))
        able = self.open(rows)
        grow = able & ~self.deep & (rng.random(rows.shape) < 1 / (1 + np.exp(-wider)))
        odds = np.concatenate([np.ones((len(rows), 1)), np.where(able & self.deep, np.exp(deeper), 0.0)], axis=1)
        upper = odds.cumsum(axis=1)
        picked = (rng.random((len(rows), 1)) * upper[:, -1:] >= upper).sum(axis=1)
        inserted = np.flatnonzero(picked)
        grow[inserted, picked[inserted] - 1] = True
        return grow

    def loss(self, toward: Floats, parents: Genes, children: Genes) -> Loss:
        """REINFORCE's loss of the growth from these parents to these children."""
        import torch
        from torch.nn import functional

        able, grew = self.open(parents), parents != children
        wide, deep = (torch.from_numpy(able & kind) for kind in (~self.deep, self.deep))
        did = torch.from_numpy(grew).float()

        def loss(actors: nn.Module, advantages: Tensor) -> Tensor:
            wider, deeper = actors(toward, parents)
            each = functional.binary_cross_entropy_with_logits(wider, did, reduction="none")
            against = torch.cat([torch.zeros(len(did), 1), deeper.masked_fill(~deep, -torch.inf)], dim=1)
            chosen = torch.cat([1 - (did * deep).sum(dim=1, keepdim=True).clamp(max=1), did * deep], dim=1)
            logs = functional.log_softmax(against, dim=1)
            likely = torch.where(chosen > 0, logs, 0.0).sum(dim=1) - (each * wide).sum(dim=1)
            return -(advantages * likely).mean()

        return loss


def _order(values: Floats, violations: Floats, toward: Floats) -> np.ndarray:
    """The numbers of the trials [n], the best first in each of the directions [k, m]: [n, k]."""
    scores = scalarized(values, toward, *extent(values))
    excess = np.broadcast_to(violations[:, None], scores.shape)
    return np.lexsort((np.where(np.isfinite(scores), scores, np.inf), excess), axis=0)


def _order_of(decision: Any, size: int) -> tuple[int, ...] | None:
    """The options by size, the least first: by their values where these are numbers, by their numbers in a table."""
    options: Sequence[Any] = getattr(decision, "options", range(size))
    if size < 2 or not all(isinstance(option, Real) for option in options):
        return None
    return tuple(int(number) for number in np.argsort(np.array(options, dtype=float), kind="stable"))


def _is_depth(decision: Any) -> bool:
    """Whether a decision says how many blocks there are."""
    return getattr(decision, "name", "").rpartition(".")[2] in ("depth", "cells")
