"""A table of evaluated architectures: the space of its rows, and their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.archive import Trial
from nas.data._images import DataError
from nas.problem import Direction, Floats, Genes, Problem
from predictors.encodings._role import Encoding
from searchspaces.registry import did_you_mean

CHUNK = 256
"""Rows that are compared with the whole table at a time."""


@dataclass(frozen=True)
class Entry:
    """One architecture of a table: its number in it, and its description."""

    number: int
    description: Mapping[str, Any]

    @property
    def id(self) -> str:
        """Unique in its table."""
        return f"row-{self.number}"

    def describe(self) -> dict[str, Any]:
        """As plain data."""
        return dict(self.description)


class TableSpace:
    """The architectures of a table, complete or not.

    What mutation and crossover make is the nearest row of the table, by the number of decisions that differ.

    Args:
        rows: [n, decisions], distinct.
        sizes: number of options of each decision.
        descriptions: [n], what each row stands for.
    """

    def __init__(self, rows: Genes, sizes: Genes, descriptions: Sequence[Mapping[str, Any]]) -> None:
        self.rows, self.sizes, self.descriptions = rows, sizes, descriptions

    @property
    def decisions(self) -> Sequence[Any]:
        """The number of options of each."""
        return tuple(self.sizes.tolist())

    @property
    def count(self) -> int:
        """Rows of the table."""
        return len(self.rows)

    @cached_property
    def complete(self) -> bool:
        """Whether the table holds every combination of options."""
        return self.count == np.prod(self.sizes.astype(float))

    @cached_property
    def _numbers(self) -> dict[bytes, int]:
        return {row.tobytes(): number for number, row in enumerate(self.rows)}

    def numbers(self, matrix: Genes) -> npt.NDArray[np.int64]:
        """The number [n] of each row in the table."""
        known = self._numbers
        return np.array([known[row.tobytes()] for row in np.ascontiguousarray(matrix)], dtype=np.int64)

    def decode(self, row: Genes) -> Entry:
        """What a row stands for."""
        number = int(self.numbers(row[None])[0])
        return Entry(number, self.descriptions[number])

    def sample(self, rng: np.random.Generator, n: int) -> Genes:
        """Uniform over the table."""
        return self.rows[rng.integers(self.count, size=n)]

    def canonical(self, matrix: Genes) -> Genes:
        """The nearest rows of the table."""
        return matrix if self.complete else self._nearest(matrix, None)

    def mutate(self, matrix: Genes, rng: np.random.Generator, rate: float) -> Genes:
        """Rows of the table near those that differ in each decision with this probability, none equal to its parent."""
        open_ = np.flatnonzero(self.sizes > 1)
        if not len(open_) or self.count < 2:
            return matrix.copy()
        change = rng.random(matrix.shape) < rate
        change[np.arange(len(matrix)), open_[rng.integers(len(open_), size=len(matrix))]] |= ~change[:, open_].any(
            axis=1
        )
        moved = (matrix + rng.integers(1, np.maximum(self.sizes, 2), size=matrix.shape)) % self.sizes
        changed = np.where(change, moved, matrix)
        return changed if self.complete else self._nearest(changed, matrix)

    def crossover(self, first: Genes, second: Genes, rng: np.random.Generator) -> Genes:
        """The rows nearest to those that take each decision from one parent or the other."""
        return self.canonical(np.where(rng.random(first.shape) < 0.5, first, second))

    def _nearest(self, matrix: Genes, others: Genes | None) -> Genes:
        """The nearest row of the table to each of these [n, decisions], which is not the other one at its place."""
        found = np.empty_like(matrix)
        for start in range(0, len(matrix), CHUNK):
            part = slice(start, start + CHUNK)
            distance = sum(matrix[part, column, None] != self.rows[:, column] for column in range(matrix.shape[1]))
            if others is not None:
                own = self.numbers(others[part])
                distance[np.arange(len(own)), own] = matrix.shape[1] + 1
            found[part] = self.rows[np.argmin(distance, axis=1)]
        return found


@dataclass(frozen=True)
class Table:
    """Values [n] by name of the rows of a space; those that are free are known without evaluation."""

    space: TableSpace
    values: Mapping[str, Floats]
    encoding: Encoding
    free: tuple[str, ...] = ()

    def costs(self, matrix: Genes) -> dict[str, Floats]:
        """The values [n] of rows that may be known before they are evaluated."""
        numbers = self.space.numbers(matrix)
        return {name: self.values[name][numbers] for name in self.free}

    def problem(self, objectives: Mapping[str, Direction], constraints: Mapping[str, float]) -> Problem:
        """Objectives and bounds over the table.

        Raises:
            DataError: one of them is not in the table.
        """
        for name in [*objectives, *constraints]:
            if name not in self.values:
                raise DataError(f"the table has no value {name}{did_you_mean(name, self.values)}; name its column")
        return Problem(self.space, objectives, constraints, self.costs, self.encoding)

    def trial(self, number: int, row: Genes) -> Trial:
        """The evaluation of a row [decisions]."""
        entry = self.space.decode(row)
        values = {name: float(values[entry.number]) for name, values in self.values.items()}
        return Trial(number, entry.id, tuple(map(int, row)), entry.describe(), values)
