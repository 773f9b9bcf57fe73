"""Problem: what a search optimizes, under which bounds, and what can be known of a candidate without judging it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from predictors.encodings._role import Encoding

Genes = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Direction = Literal["minimize", "maximize"]
Costs = Callable[[Genes], Mapping[str, Floats]]
Distance = Callable[[Genes, Genes], Floats]
"""How far the outputs of rows' networks are from those of one row's network: [decisions], [n, decisions] -> [n]."""

CANDIDATES = 10_000
"""Candidates drawn at random before, and bred after, the search for feasible ones changes its means."""
BREEDERS = 50
"""Least violating candidates that the descent breeds from."""
_UNITS = {"_ms": " ms", "_mj": " mJ", "_bytes": " bytes", "_mb": " MB"}


class Space(Protocol):
    """What a search needs of a search space: its architectures as rows of an integer matrix [n, decisions]."""

    @property
    def decisions(self) -> Sequence[Any]:
        """The open decisions, one per column."""

    @property
    def sizes(self) -> Any:
        """Number of options of each decision: [decisions]."""

    @property
    def count(self) -> int:
        """The exact number of architectures."""

    def sample(self, rng: np.random.Generator, n: int) -> Genes:
        """Canonical rows, uniform over the architectures."""

    def canonical(self, matrix: Genes) -> Genes:
        """The same architectures with 0 in inactive decisions."""

    def mutate(self, matrix: Genes, rng: np.random.Generator, rate: float) -> Genes:
        """Rows that each differ in at least one active decision."""

    def crossover(self, first: Genes, second: Genes, rng: np.random.Generator) -> Genes:
        """Rows that take each decision from one parent or the other."""


class InfeasibleError(ValueError):
    """No candidate meets the bounds; the message names the bound and the best value seen."""


@dataclass(frozen=True)
class Problem:
    """Objectives over a space under bounds.

    A bound is an upper one, or a lower one where the name is maximized. `costs` maps rows [n, decisions] to the values
    [n] that are known without judging quality; bounds on other names hold only for what has been evaluated. Strategies
    that learn see rows through the encoding; one of the plain options if none is given. Those that compare outputs do
    so by `distance`, where there are networks to compare.
    """

    space: Space
    objectives: Mapping[str, Direction]
    constraints: Mapping[str, float] = field(default_factory=dict)
    costs: Costs = lambda matrix: {}
    encoding: Encoding | None = None
    distance: Distance | None = None

    def __post_init__(self) -> None:
        if not self.objectives or not set(self.objectives.values()) <= {"minimize", "maximize"}:
            raise ValueError(f"objectives must map names to minimize or maximize, not {dict(self.objectives)}")
        if not all(map(math.isfinite, self.constraints.values())):
            raise ValueError(f"bounds must be finite, not {dict(self.constraints)}")

    def minimized(self, values: Mapping[str, Any]) -> Floats:
        """The objectives [m] of values by name, or [n, m] of arrays [n] by name, signed so that less is better."""
        return np.stack([self._sign(name) * np.asarray(values[name], dtype=float) for name in self.objectives], axis=-1)

    def violation(self, values: Mapping[str, float]) -> float:
        """How far one candidate is out of bounds: the sum of each excess relative to its bound; 0 is feasible.

        Raises:
            KeyError: a bounded value is missing.
        """
        return float(sum(self._excess(name, values[name]) for name in self.constraints))

    def cost_violations(self, matrix: Genes) -> Floats:
        """The violations [n] of the bounds on costs."""
        if not self.constraints:
            return np.zeros(len(matrix))
        return self._violations(self.costs(matrix), len(matrix))

    def feasible(self, matrix: Genes) -> Mask:
        """Mask [n] of the rows whose costs are within their bounds."""
        return np.equal(self.cost_violations(matrix), 0)

    def sample_feasible(self, rng: np.random.Generator, n: int) -> Genes:
        """Rows [at most n, decisions] whose costs are within their bounds.

        Uniform over the feasible, with replacement, while drawing at random finds enough of them. Where they are too
        rare the least violating are bred to descend, and the rows are distinct: fewer than n if no more were found.

        Raises:
            InfeasibleError: none was found.
        """
        if not self.constraints:
            return self.space.sample(rng, n)
        found, drawn = _Pool(self), 0
        while drawn < (limit := max(CANDIDATES, 64 * n)):
            rows = self.space.sample(rng, min(max(2 * n, 64), limit - drawn))
            found.add(rows)
            drawn += len(rows)
            if len(found.feasible) >= n:
                return found.feasible[:n]
        return self._descend(found, rng, n, drawn)

    def _descend(self, found: _Pool, rng: np.random.Generator, n: int, drawn: int) -> Genes:
        """At most n distinct feasible rows, bred from the least violating."""
        limit, most = drawn + CANDIDATES, drawn + 2 * CANDIDATES  # more once one is found
        rate = 1 / max(1, len(self.space.decisions))
        found.keep(max(BREEDERS, n))
        while drawn < (most if len(found.feasible) else limit) and len(found.feasible) < n:
            parents = found.rows[:BREEDERS]
            children = self.space.mutate(parents[rng.integers(len(parents), size=BREEDERS)], rng, rate)
            found.add(self.space.canonical(children))
            found.keep(max(BREEDERS, n))
            drawn += BREEDERS
        if len(found.feasible) == 0:
            raise InfeasibleError(self._explain(found, drawn))
        return found.feasible[:n]

    def _violations(self, costs: Mapping[str, Floats], n: int) -> Floats:
        """The violations [n] of those bounds whose values are among the costs."""
        known = [self._excess(name, costs[name]) for name in self.constraints if name in costs]
        return np.asarray(sum(known, np.zeros(n)))

    def _excess(self, name: str, value: Any) -> Any:
        """By how much of the bound a value exceeds it; infinite if it is not a number."""
        bound = self.constraints[name]
        excess = self._sign(name) * (np.asarray(value, dtype=float) - bound) / (abs(bound) or 1.0)
        return np.where(np.isnan(excess), np.inf, np.maximum(excess, 0))

    def _sign(self, name: str) -> float:
        return -1.0 if self.objectives.get(name) == "maximize" else 1.0

    def _explain(self, found: _Pool, drawn: int) -> str:
        """Which bounds fail: those that no candidate meets, else those that are not met together."""
        alone = [name for name, value in found.best.items() if self._excess(name, value) > 0]
        if alone:
            seen = " and ".join(_quantity(name, found.best[name]) for name in alone)
            return f"{self._bounds(alone)} cannot be met: the best of {drawn:,} candidates is {seen}"
        nearest = self.costs(found.rows[:1])
        seen = ", ".join(f"{name} {_quantity(name, float(nearest[name][0]))}" for name in found.best)
        return (
            f"{self._bounds(list(found.best))} cannot be met together: the nearest of {drawn:,} candidates has {seen}"
        )

    def _bounds(self, names: list[str]) -> str:
        signs = {1.0: "<=", -1.0: ">="}
        return " and ".join(f"{name} {signs[self._sign(name)]} {self.constraints[name]:g}" for name in names)


class _Pool:
    """Candidates seen in the search for feasible ones, with their violations and the best of each bounded cost."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self.rows = np.zeros((0, len(problem.space.decisions)), dtype=np.int64)
        self.best: dict[str, float] = {}
        self._violations = np.zeros(0)

    @property
    def feasible(self) -> Genes:
        """The feasible rows in the order in which they came."""
        return self.rows[self._violations == 0]

    def add(self, rows: Genes) -> None:
        """Appends rows."""
        costs = self._problem.costs(rows)
        self.rows = np.concatenate([self.rows, rows])
        self._violations = np.concatenate([self._violations, self._problem._violations(costs, len(rows))])
        for name in self._problem.constraints:
            if name in costs:
                seen = [self.best.get(name, np.nan), *costs[name]]
                self.best[name] = float(np.nanmax(seen) if self._problem._sign(name) < 0 else np.nanmin(seen))

    def keep(self, n: int) -> None:
        """Drops equal rows and all but the n least violating, which are then in order."""
        distinct = np.sort(np.unique(self.rows, axis=0, return_index=True)[1])
        kept = distinct[np.argsort(self._violations[distinct], kind="stable")[:n]]
        self.rows, self._violations = self.rows[kept], self._violations[kept]


def _quantity(name: str, value: float) -> str:
    """A value with the unit that its name ends in."""
    return f"{value:.3g}" + next((unit for end, unit in _UNITS.items() if name.endswith(end)), "")
