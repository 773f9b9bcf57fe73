"""Any table of numbers: each column is a decision among the values that occur in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property

import numpy as np
import numpy.typing as npt

from predictors.encodings._role import Encoding, Floats, Genes

_FEW = 12
"""A column of at most so many values has an indicator for each."""


class Columns(Encoding):
    """Rows of indices into the sorted values of each column. A token is a value of a column.

    Args:
        values: by column name the values that can stand there, finite and ascending.
    """

    def __init__(self, values: Mapping[str, Floats]) -> None:
        if not values or any(len(column) == 0 or not np.isfinite(column).all() for column in values.values()):
            raise ValueError("columns of finite numbers are needed, at least one of them")
        self.values = {name: np.unique(np.asarray(column, dtype=float)) for name, column in values.items()}

    def encode(self, columns: Mapping[str, Floats]) -> Genes:
        """The matrix of a table's rows: columns [n] by name -> [n, columns].

        Raises:
            ValueError: a value is not among those known of its column.
        """
        found = []
        for name, known in self.values.items():
            given = np.asarray(columns[name], dtype=float)
            index = np.minimum(np.searchsorted(known, given), len(known) - 1)
            if (known[index] != given).any():
                raise ValueError(f"column {name} holds a value that the encoding does not know")
            found.append(index)
        return np.stack(found, axis=1).astype(np.int64)

    @cached_property
    def signature(self) -> str:
        """A digest of the names and values."""
        text = json.dumps([[name, column.tolist()] for name, column in self.values.items()])
        return f"columns:{hashlib.sha256(text.encode()).hexdigest()}"

    @cached_property
    def sizes(self) -> Genes:
        """Number of values of each column."""
        return np.array([len(column) for column in self.values.values()], dtype=np.int64)

    @property
    def vocabulary(self) -> int:
        """Number of values of all columns."""
        return int(self.sizes.sum())

    def features(self, matrix: Genes) -> npt.NDArray[np.float32]:
        """For each column its place between least and greatest, its logarithm, and indicators where values are few."""
        flat = matrix + self._starts
        parts = [self._views[flat[:, number], :width] for number, width in enumerate(self._widths)]
        return np.concatenate(parts, axis=1)

    def physics(self, matrix: Genes) -> Floats:
        """Each column, and each product of two, over the greatest: shifted to begin at 0 where a column is negative."""
        own = self._levels[matrix + self._starts]
        first, second = np.triu_indices(len(self.values))
        return np.concatenate([own, own[:, first] * own[:, second]], axis=1)

    def tokens(self, matrix: Genes) -> Genes:
        """One for each column."""
        return matrix + self._starts

    def edges(self, matrix: Genes) -> npt.NDArray[np.bool_]:
        """None: a table says nothing of a graph."""
        return np.zeros((len(matrix), len(self.values), len(self.values)), dtype=bool)

    @cached_property
    def _starts(self) -> Genes:
        return np.cumsum(self.sizes) - self.sizes

    @cached_property
    def _widths(self) -> list[int]:
        return [2 + (size if 2 < size <= _FEW else 0) for size in self.sizes]

    @cached_property
    def _views(self) -> npt.NDArray[np.float32]:
        """[vocabulary, widest]: what `features` shows of each token."""
        views = np.zeros((self.vocabulary, max(self._widths)), dtype=np.float32)
        for start, column in zip(self._starts, self.values.values(), strict=True):
            span = float(np.ptp(column)) or 1.0
            rows = views[start : start + len(column)]
            rows[:, 0] = (column - column[0]) / span
            rows[:, 1] = np.log1p((column - min(column[0], 0.0)) / (np.abs(column).max() or 1.0) * 9)
            if 2 < len(column) <= _FEW:
                rows[:, 2 : 2 + len(column)] = np.eye(len(column))
        return views

    @cached_property
    def _levels(self) -> Floats:
        """[vocabulary]: each value over the column's greatest, from 0 where it is negative."""
        shifted = [column - min(column[0], 0.0) for column in self.values.values()]
        return np.concatenate([column / (column.max() or 1.0) for column in shifted])
