"""SearchSpace: a chain of blocks with choices left open, and its architectures as rows of integers.

A row holds the option number of each decision. Decisions under an option that is not chosen are inactive; a canonical
row has 0 there, so that equal rows are equal architectures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from searchspaces.architecture import Architecture, Layers
from searchspaces.choice import Choice, Subset, decide
from searchspaces.networks._role import Network, Signature
from searchspaces.part import Part, Shape

Genes = npt.NDArray[np.int64]
"""Population matrix [candidates, decisions], or one row of it."""


@dataclass(frozen=True)
class Decision:
    """One open choice of the space."""

    name: str
    options: tuple[Any, ...]
    parent: int = -1
    """Number of the decision that this one hangs on, or -1."""
    parent_options: frozenset[int] = frozenset()
    """Options of the parent under which this decision is active."""

    @property
    def field(self) -> str:
        """The field that it decides: `kernel` of `space.stages.0.block.mixer.1.kernel[2]`."""
        return [part for part in self.name.partition("[")[0].split(".") if not part.isdigit()][-1]

    @property
    def ordered(self) -> bool:
        """Whether its options are numbers."""
        return all(isinstance(option, int | float) and not isinstance(option, bool) for option in self.options)


@dataclass(frozen=True)
class SearchSpace:
    """All architectures that a description leaves open."""

    input_shape: Shape
    layers: Layers

    @classmethod
    def of(cls, network: Network, signature: Signature) -> SearchSpace:
        """The space of an open network for a task."""
        return cls(tuple(signature.input_shape), network.layers(signature))

    @cached_property
    def decisions(self) -> tuple[Decision, ...]:
        """Every decision, parents before children."""
        found: dict[str, Decision] = {}
        _collect(self.layers, found, -1, frozenset())
        return tuple(found.values())

    @cached_property
    def index(self) -> dict[str, int]:
        """Decision number by name."""
        return {decision.name: number for number, decision in enumerate(self.decisions)}

    @cached_property
    def sizes(self) -> Genes:
        """Number of options of each decision."""
        return np.array([len(decision.options) for decision in self.decisions], dtype=np.int64)

    @cached_property
    def _counts(self) -> list[list[int]]:
        """For each decision and option: the number of forms that the decisions below it can take."""
        counts = [[1] * len(decision.options) for decision in self.decisions]
        for number in range(len(self.decisions) - 1, -1, -1):
            decision = self.decisions[number]
            for option in decision.parent_options if decision.parent >= 0 else ():
                counts[decision.parent][option] *= sum(counts[number])
        return counts

    @property
    def count(self) -> int:
        """The exact number of architectures."""
        return math.prod(sum(self._counts[n]) for n, decision in enumerate(self.decisions) if decision.parent < 0)

    def decode(self, row: Genes) -> Architecture:
        """The architecture of a row; inactive decisions do not matter."""
        index = self.index
        return Architecture(self.input_shape, decide(self.layers, lambda choice: int(row[index[choice.path]])))

    def encode(self, architecture: Architecture) -> Genes:
        """The canonical row of an architecture.

        Raises:
            ValueError: the architecture is not in this space.
        """
        picks: dict[str, int] = {}
        if architecture.input_shape != self.input_shape or not _match(self.layers, architecture.layers, picks):
            raise ValueError(f"architecture {architecture.id} is not in this search space")
        return np.array([picks.get(decision.name, 0) for decision in self.decisions], dtype=np.int64)

    def active(self, matrix: Genes) -> npt.NDArray[np.bool_]:
        """Which decisions matter in each row: [n, decisions]."""
        active = np.ones(matrix.shape, dtype=bool)
        for number, decision in enumerate(self.decisions):
            if decision.parent >= 0:
                chosen = self._allowed[number][matrix[:, decision.parent]]
                active[:, number] = active[:, decision.parent] & chosen
        return active

    @cached_property
    def _allowed(self) -> list[npt.NDArray[np.bool_]]:
        """For each decision: by option of its parent, whether it is active."""
        widths = [len(self.decisions[decision.parent].options) for decision in self.decisions]
        return [
            np.isin(np.arange(width), list(decision.parent_options))
            for width, decision in zip(widths, self.decisions, strict=True)
        ]

    def canonical(self, matrix: Genes) -> Genes:
        """The rows with 0 for decisions that do not matter."""
        return np.where(self.active(matrix), matrix, 0)

    def sample(self, rng: np.random.Generator, n: int) -> Genes:
        """Rows drawn uniformly over the architectures (not over the options): [n, decisions]."""
        matrix = np.empty((n, len(self.decisions)), dtype=np.int64)
        for number, counts in enumerate(self._counts):
            total = sum(counts)
            matrix[:, number] = rng.choice(len(counts), size=n, p=[count / total for count in counts])
        return self.canonical(matrix)

    def mutate(self, matrix: Genes, rng: np.random.Generator, rate: float) -> Genes:
        """Each row with each active decision changed with probability `rate`, and at least one changed.

        Decisions that a change activates are drawn at random.
        """
        if not len(self.decisions):
            return matrix.copy()
        active = self.active(matrix)
        change = active & (rng.random(matrix.shape) < rate)
        forced = np.where(active, rng.random(matrix.shape), -1.0).argmax(axis=1)
        idle = ~change.any(axis=1)
        change[idle, forced[idle]] = True
        moved = (matrix + rng.integers(1, self.sizes, size=matrix.shape)) % self.sizes
        return self.canonical(np.where(change, moved, self._filled(matrix, active, rng)))

    def crossover(self, first: Genes, second: Genes, rng: np.random.Generator) -> Genes:
        """Uniform crossover: each decision from either parent; from chance where neither parent had it active."""
        matrices = [self._filled(matrix, self.active(matrix), rng) for matrix in (first, second)]
        one, other = self.active(first), self.active(second)
        take_first = np.where(one == other, rng.random(first.shape) < 0.5, one)
        return self.canonical(np.where(take_first, *matrices))

    def _filled(self, matrix: Genes, active: npt.NDArray[np.bool_], rng: np.random.Generator) -> Genes:
        """The rows with random options where decisions are inactive."""
        return np.where(active, matrix, rng.integers(0, self.sizes, size=matrix.shape))

    def describe_row(self, row: Genes) -> Mapping[str, Any]:
        """Decision names and chosen values, for people."""
        active = self.active(row[None])[0]
        return {d.name: d.options[row[n]] for n, d in enumerate(self.decisions) if active[n]}


def _collect(value: Any, found: dict[str, Decision], parent: int, options: frozenset[int]) -> None:
    """Numbers the choices of an open value in the order of the description."""
    if isinstance(value, Choice):
        number = _add(value, found, parent, options)
        for option, content in enumerate(value.options):
            _collect(content, found, number, frozenset({option}))
    elif isinstance(value, Subset):
        if not isinstance(value.chosen, Choice):
            return _collect(value.pick(value.chosen), found, parent, options)
        number = _add(value.chosen, found, parent, options)
        for index, item in enumerate(value.items):
            using = value.using(index)
            always = len(using) == len(value.chosen.options)
            if using:
                _collect(item, found, *((parent, options) if always else (number, using)))
    elif isinstance(value, tuple):
        for item in value:
            _collect(item, found, parent, options)
    elif isinstance(value, Part):
        _collect(tuple(field for _, field in value.items()), found, parent, options)
    return None


def _add(choice: Choice, found: dict[str, Decision], parent: int, options: frozenset[int]) -> int:
    """The number of a choice's decision; one that stands in several places is active where any of them is.

    Its options are those of the first place: another may count what the first leaves.
    """
    known = found.get(choice.path)
    if known is None:
        found[choice.path] = Decision(choice.path, choice.options, parent, options)
    elif known.parent == parent:
        found[choice.path] = Decision(choice.path, known.options, parent, known.parent_options | options)
    elif parent < 0:
        found[choice.path] = Decision(choice.path, known.options)
    elif known.parent >= 0:
        raise ValueError(f"the decision {choice.path} hangs on two different decisions")
    return list(found).index(choice.path)


def _match(open_value: Any, value: Any, picks: dict[str, int]) -> bool:
    """Whether a decided value is a form of the open one; notes the options that make it so."""
    if isinstance(open_value, Choice):
        fixed = picks.get(open_value.path)
        for option, content in enumerate(open_value.options):
            attempt = {**picks, open_value.path: option}
            if fixed in (None, option) and _match(content, value, attempt):
                picks.update(attempt)
                return True
        return False
    if isinstance(open_value, Subset):
        if isinstance(open_value.chosen, Choice):
            contents = tuple(map(open_value.pick, open_value.chosen.options))
            return _match(Choice(open_value.chosen.path, contents), value, picks)
        return _match(open_value.pick(open_value.chosen), value, picks)
    if isinstance(open_value, tuple):
        pairs = zip(open_value, value, strict=False) if isinstance(value, tuple) else ()
        return isinstance(value, tuple) and len(value) == len(open_value) and all(_match(a, b, picks) for a, b in pairs)
    if isinstance(open_value, Part) and type(open_value) is type(value):
        return all(_match(getattr(open_value, name), field, picks) for name, field in value.items())
    return bool(open_value == value)
