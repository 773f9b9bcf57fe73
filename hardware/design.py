"""Design: which blocks to measure first when not all can be, and what the others are likely to cost.

How far a block's measured contribution lies from its analytic estimate, as a logarithm, is a Gaussian process over
what the block is. Blocks are chosen one by one where a measurement takes most off the expected squared error of whole
networks (A-optimal design; Krause, Singh and Guestrin, JMLR 2008, compare such criteria), and what was not measured is
the process's posterior mean.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from hardware.backends.roofline import Roofline
from searchspaces.architecture import Architecture
from searchspaces.blocks._role import Block
from searchspaces.cost import cost
from searchspaces.part import Shape

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]

_SPREAD = 0.5
"""Standard deviation of the logarithm of measured over estimated contributions."""
_OWN = 0.1
"""The part of it that a block shares with no other."""
_NOISE = 0.05
"""Standard deviation of the logarithm of one measurement."""
_MOST = 1000
"""Blocks among which the order is chosen by what they tell of each other."""
_APART = 2.0
"""Distance between blocks of different kinds; blocks of one kind whose costs differ e-fold are 1 apart."""


class Placed(Protocol):
    """A block and the shape of one of its input samples: a `Placement` or a `Unit`."""

    @property
    def part(self) -> Block:
        """The block."""

    @property
    def shape(self) -> Shape:
        """Of one input sample."""


@dataclass(frozen=True)
class BlockField:
    """What is known of the contributions of n blocks before and between measurements.

    Attributes:
        estimates_ms: [n], analytic: right up to a common factor at best.
        features: [n, f], what tells how alike two blocks are.
        kinds: [n], numbers of the blocks' kinds.
    """

    estimates_ms: Floats
    features: Floats
    kinds: Numbers

    @classmethod
    def of(cls, placed: Sequence[Placed], batch_size: int = 1) -> BlockField:
        """The field of these blocks."""
        roofline = Roofline(batch_size=batch_size)
        empty = roofline.overhead_us / 1e3
        estimates = [roofline.estimate(Architecture(p.shape, (p.part,))).milliseconds - empty for p in placed]
        kinds = [kind_of(item.part) for item in placed]
        return cls(
            np.maximum(np.array(estimates, dtype=float), 1e-6),
            np.array([_amounts(item) for item in placed], dtype=float).reshape(len(placed), -1),
            np.unique(kinds, return_inverse=True)[1].astype(np.int64) if kinds else np.zeros(0, dtype=np.int64),
        )

    def covariance(self, first: Numbers, second: Numbers) -> Floats:
        """[first, second], of the logarithms of measured over estimated contributions."""
        squared = ((self.features[first, None] - self.features[second]) ** 2).sum(axis=2)
        squared += _APART**2 * (self.kinds[first, None] != self.kinds[second])
        return _SPREAD**2 * np.exp(-squared / 2) + _OWN**2 * (first[:, None] == second)

    def order(self, usage: Floats, known: npt.NDArray[np.bool_]) -> Numbers:
        """Numbers of the blocks that are not known, the most informative first.

        Beyond the thousand blocks of greatest share in the latency, these shares alone decide.

        Args:
            usage: [n], how often a network has the block, on average.
            known: [n], the blocks that are measured already.
        """
        share = usage * self.estimates_ms
        by_share = np.argsort(-share, kind="stable")
        first = np.sort(by_share[:_MOST])
        left = self.covariance(first, first)
        for number in np.flatnonzero(known[first]):
            _condition(left, int(number))
        chosen = first[_greedy(left, share[first] ** 2, ~known[first])]
        rest = by_share[_MOST:]
        return np.concatenate([chosen, rest[~known[rest]]])

    def posterior_ms(self, known: npt.NDArray[np.bool_], measured_ms: Floats) -> Floats:
        """The likely contribution of every block [n], from those that are known.

        Args:
            known: [n]
            measured_ms: [n], looked at where known.
        """
        if not known.any():
            return self.estimates_ms
        ratios = np.log(np.maximum(measured_ms[known], 1e-6) / self.estimates_ms[known])
        mean = float(np.average(ratios, weights=self.estimates_ms[known]))
        where, every = np.flatnonzero(known), np.arange(len(known))
        seen = self.covariance(where, where) + _NOISE**2 * np.eye(len(where))
        learned = self.covariance(every, where) @ np.linalg.solve(seen, ratios - mean)
        return self.estimates_ms * np.exp(mean + learned)


def _greedy(covariance: Floats, matters: Floats, open_: npt.NDArray[np.bool_]) -> list[int]:
    """The open ones, always the one next that takes most off the weighted sum of variances; changes its arguments."""
    order: list[int] = []
    while open_.any():
        gain = matters @ covariance**2 / (covariance.diagonal() + _NOISE**2)
        order.append(best := int(np.where(open_, gain, -1.0).argmax()))
        open_[best] = False
        _condition(covariance, best)
    return order


def _condition(covariance: Floats, number: int) -> None:
    """What is left of a covariance once a block is measured; in place."""
    column = covariance[:, number].copy()
    covariance -= np.outer(column, column) / (column[number] + _NOISE**2)


def _amounts(placed: Placed) -> list[float]:
    """Logarithms of what a block computes, moves and keeps."""
    found = cost(placed.part, placed.shape)
    return [float(np.log1p(amount)) for amount in (found.macs, found.activation_bytes, found.parameters)]


def kind_of(part: Block) -> str:
    """The kinds that a block's description names, without its numbers."""
    return json.dumps(_kinds(part.describe()), sort_keys=True)


def _kinds(value: object) -> object:
    """The names of kinds in nested data."""
    if isinstance(value, dict):
        inner = {key: _kinds(item) for key, item in value.items() if isinstance(item, dict)}
        return {"kind": value.get("kind"), **inner}
    return None
