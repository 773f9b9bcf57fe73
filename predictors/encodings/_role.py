"""Encoding: what predictors see of the rows of a population matrix."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Genes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Contributions:
    """A table: value of a row = overhead + sum of its tokens' values, infinite where a token cannot be run."""

    overhead: float
    values: Floats
    """[vocabulary]"""


class Encoding(ABC):
    """Views of canonical rows [n, decisions] of one space, each by matrix arithmetic, never row by row.

    A network is a graph of at most `t` tokens, each of them one of `vocabulary` known blocks or operators.
    """

    @property
    @abstractmethod
    def signature(self) -> str:
        """A text that two encodings share only if they see every row alike; a saved predictor is bound to it."""

    @property
    @abstractmethod
    def sizes(self) -> Genes:
        """Number of options of each decision: [decisions]."""

    @property
    @abstractmethod
    def vocabulary(self) -> int:
        """How many different tokens there are."""

    @abstractmethod
    def features(self, matrix: Genes) -> npt.NDArray[np.float32]:
        """Everything a regression may learn from: [n, decisions] -> [n, f]."""

    @abstractmethod
    def physics(self, matrix: Genes) -> Floats:
        """Amounts that cost time and add up over blocks, as MACs do: [n, decisions] -> [n, p], at least 0."""

    @abstractmethod
    def tokens(self, matrix: Genes) -> Genes:
        """The token at each place, -1 where there is none: [n, decisions] -> [n, t]."""

    @abstractmethod
    def edges(self, matrix: Genes) -> npt.NDArray[np.bool_]:
        """Which place's output (second last axis) the place of the last axis reads: [n, decisions] -> [n, t, t]."""

    @property
    def contributions(self) -> Contributions | None:
        """What a measured table says that each token costs; None without a table."""
        return None

    def sample(self, rng: np.random.Generator, n: int) -> Genes:
        """Canonical rows drawn at random from the whole space: [n, decisions]."""
        return rng.integers(0, self.sizes, size=(n, len(self.sizes)))

    def canonical(self, matrix: Genes) -> Genes:
        """For each row one that computes the same graph, the same for all that do: [n, decisions] -> [n, decisions].

        Two measurements of one graph differ by noise alone: no predictor can be nearer to one than the other is.
        """
        return matrix

    def runnable(self, matrix: Genes) -> npt.NDArray[np.bool_]:
        """Which rows the table says can be run: [n, decisions] -> [n]."""
        table = self.contributions
        if table is None or np.isfinite(table.values).all():
            return np.ones(len(matrix), dtype=bool)
        return np.isfinite(np.append(table.values, 0.0)[self.tokens(matrix)].sum(axis=1))

    def check(self, matrix: Genes) -> None:
        """Raises ValueError where these are no rows of this space."""
        if matrix.ndim != 2 or matrix.shape[1] != len(self.sizes):
            raise ValueError(f"rows of {len(self.sizes)} decisions are needed, not an array {list(matrix.shape)}")
        if len(matrix) and ((matrix < 0).any() or (matrix >= self.sizes).any()):
            raise ValueError("an option number is out of its decision's range")
