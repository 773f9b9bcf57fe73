"""A small search space with conditional decisions, and problems on it whose values are known in closed form."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from nas.archive import Archive, Trial
from nas.problem import Genes, Problem


@dataclass(frozen=True)
class FakeArchitecture:
    row: tuple[int, ...]

    @property
    def id(self) -> str:
        return "-".join(map(str, self.row))

    def describe(self) -> dict[str, Any]:
        return {"row": list(self.row)}


@dataclass(frozen=True)
class FakeSpace:
    """Decision 0 says how many of the following are active (its option number + 1), where `conditional` says so."""

    sizes: tuple[int, ...]
    conditional: bool = True

    @property
    def decisions(self) -> tuple[int, ...]:
        return self.sizes

    @property
    def rows(self) -> Genes:
        """Every architecture."""
        return every_row(self)

    @property
    def count(self) -> int:
        return len(self.rows)

    def active(self, matrix: Genes) -> np.ndarray:
        active = np.ones(matrix.shape, dtype=bool)
        if self.conditional and matrix.shape[1]:
            active[:, 1:] = np.arange(matrix.shape[1] - 1) <= matrix[:, :1]
        return active

    def canonical(self, matrix: Genes) -> Genes:
        return np.where(self.active(matrix), matrix, 0)

    def sample(self, rng: np.random.Generator, n: int) -> Genes:
        return self.rows[rng.integers(len(self.rows), size=n)]

    def mutate(self, matrix: Genes, rng: np.random.Generator, rate: float) -> Genes:
        if not matrix.shape[1]:
            return matrix.copy()
        active = self.active(matrix)
        change = active & (rng.random(matrix.shape) < rate)
        forced = np.where(active, rng.random(matrix.shape), -1).argmax(axis=1)
        idle = ~change.any(axis=1)
        change[idle, forced[idle]] = True
        moved = (matrix + rng.integers(1, self.sizes, size=matrix.shape)) % self.sizes
        filled = np.where(active, matrix, rng.integers(0, self.sizes, size=matrix.shape))
        return self.canonical(np.where(change, moved, filled))

    def crossover(self, first: Genes, second: Genes, rng: np.random.Generator) -> Genes:
        return self.canonical(np.where(rng.random(first.shape) < 0.5, first, second))

    def encode(self, architecture: FakeArchitecture) -> Genes:
        return np.array(architecture.row, dtype=np.int64)

    def decode(self, row: Genes) -> FakeArchitecture:
        return FakeArchitecture(tuple(int(gene) for gene in row))


@lru_cache
def every_row(space: FakeSpace) -> Genes:
    """All architectures of a space, once each."""
    options = list(itertools.product(*map(range, space.sizes)))
    every = space.canonical(np.array(options, dtype=np.int64).reshape(len(options), len(space.sizes)))
    return np.array(sorted(set(map(tuple, every.tolist()))), dtype=np.int64).reshape(
        -1 if every.size else 1, every.shape[1]
    )


def costs(matrix: Genes) -> dict[str, np.ndarray]:
    """Latency grows with every gene; a uniform candidate of eight decisions of four options has 12."""
    return {"latency_ms": matrix.sum(axis=1).astype(float), "macs": (matrix**2).sum(axis=1).astype(float)}


def error(row: np.ndarray) -> float:
    """Falls with every gene, with decreasing returns that differ by decision, and where neighbours agree."""
    weights = 1 / (1 + np.arange(len(row)))
    if not len(row):
        return 0.0
    agreement = float((np.diff(row) == 0).mean()) if len(row) > 1 else 0.0
    return float((weights / (1.0 + row)).sum() / weights.sum()) + 0.3 * (1 - agreement)


def problem(sizes: tuple[int, ...] = (4,) * 8, conditional: bool = False, **bounds: float) -> Problem:
    """Minimize error and latency."""
    return Problem(FakeSpace(sizes, conditional), {"error": "minimize", "latency_ms": "minimize"}, bounds, costs)


def judge(problem: Problem, number: int, row: Genes) -> Trial:
    """The trial of a row."""
    architecture = FakeArchitecture(tuple(int(gene) for gene in row))
    values = {name: float(value[0]) for name, value in costs(row[None]).items()} | {"error": error(row)}
    return Trial(number, architecture.id, architecture.row, architecture.describe(), values)


def search(strategy: Any, problem: Problem, seed: int, evaluations: int, archive: Archive | None = None) -> Archive:
    """Runs a strategy until it has used up its evaluations or the space."""
    archive = archive or Archive.memory()
    while len(archive) < evaluations:
        rows = strategy.ask(problem, archive, seed)
        if not len(rows):
            break
        for row in rows[: evaluations - len(archive)]:
            archive.add(judge(problem, len(archive), row))
    return archive
