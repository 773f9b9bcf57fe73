"""Strategies and rivals on one table, over seeds: what they reach after how many evaluations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from scipy.stats import rankdata

from nas import pareto
from nas.archive import Archive
from nas.lookup import trials
from nas.problem import Direction, Floats, InfeasibleError, Problem
from nas.rivals import Rival, compete, installed
from nas.strategies._role import Strategy
from nas.tasks._table import Table
from nas.tasks.tabular import Tabular
from searchspaces.part import Part

BEYOND = 0.1
"""The reference of the hypervolume is the worst of the true front and this share of its extent beyond."""
REACHED = 0.99
"""Share of the true front's hypervolume whose first evaluation is told."""


class Comparison(Part):
    """Which strategies and rivals are compared, on what table, how often."""

    task: Tabular
    objectives: Annotated[dict[str, Direction], Field(min_length=1)]
    constraints: dict[str, float] = {}
    strategies: tuple[Strategy, ...] = ()
    """Each runs for its own evaluations."""
    rivals: tuple[Rival, ...] = ()
    """Those that are not installed are left out, and named."""
    seeds: Annotated[int, Field(ge=1)] = 20
    at: Annotated[tuple[int, ...], Field(min_length=1)] = (100, 300, 1000)
    """Evaluations after which there is a table of ranks; rivals run for the last of them."""


@dataclass(frozen=True)
class Curves:
    """What one competitor had reached after each evaluation: [seeds, evaluations].

    Attributes:
        volume: hypervolume as a share of the true front's.
        best: the best feasible value of the first objective; NaN before there is one.
    """

    volume: Floats
    best: Floats

    def summary(self) -> dict[str, Any]:
        """Quartiles of both, and of the evaluations until the share `REACHED`; null where that was not reached."""
        return {
            "hypervolume": quartiles(self.volume),
            "best": quartiles(self.best),
            "evaluations_to_99": reached(self.volume),
        }


def compare(comparison: Comparison, advance: Callable[[str], None] = lambda name: None) -> dict[str, Any]:
    """The comparison as plain data; `advance` is told of each finished search.

    Raises:
        InfeasibleError: no architecture of the table is within the bounds.
    """
    table: Table = comparison.task.load()
    problem = table.problem(comparison.objectives, comparison.constraints)
    front, reference = true_front(table, problem)
    scale = pareto.hypervolume(front, reference)
    curves: dict[str, Curves] = {}
    for name, run in competitors(comparison, table, problem).items():
        found = []
        for seed in range(comparison.seeds):
            found.append(traced(run(seed), problem, reference, scale, comparison.at[-1]))
            advance(name)
        curves[name] = Curves(*(np.stack(part) for part in zip(*found, strict=True)))
    return {
        "objectives": dict(comparison.objectives),
        "seeds": comparison.seeds,
        "architectures": table.space.count,
        "front": len(front),
        "missing": [rival for rival in comparison.rivals if not installed(rival)],
        "competitors": {name: found.summary() for name, found in curves.items()},
        "ranks": [ranked(curves, at) for at in comparison.at],
    }


def competitors_of(comparison: Comparison) -> int:
    """How many will run."""
    return len(comparison.strategies) + sum(map(installed, comparison.rivals))


def competitors(comparison: Comparison, table: Table, problem: Problem) -> dict[str, Callable[[int], Archive]]:
    """What runs a search from a seed, by name; a kind that stands more than once is numbered."""
    found: dict[str, Callable[[int], Archive]] = {}
    for strategy in comparison.strategies:
        same = sum(name.split("-")[0] == strategy.kind() for name in found)
        found[f"{strategy.kind()}-{same + 1}" if same else strategy.kind()] = searcher(strategy, table, problem)
    for rival in filter(installed, comparison.rivals):
        found[rival] = lambda seed, rival=rival: compete(rival, table, problem, comparison.at[-1], seed)  # type: ignore[misc]
    return found


def searcher(strategy: Strategy, table: Table, problem: Problem) -> Callable[[int], Archive]:
    """A search by a strategy from a seed."""

    def run(seed: int) -> Archive:
        archive = Archive.memory()
        for _ in trials(strategy, table, problem, archive, seed):
            pass
        return archive

    return run


def true_front(table: Table, problem: Problem) -> tuple[Floats, Floats]:
    """The front [k, m] of the whole table, minimized, and the reference [m] for hypervolumes.

    Raises:
        InfeasibleError: nothing is within the bounds.
    """
    values, signs = problem.minimized(table.values), dict(problem.objectives)
    inside = np.ones(len(values), dtype=np.bool_)
    for name, bound in problem.constraints.items():
        inside &= table.values[name] >= bound if signs.get(name) == "maximize" else table.values[name] <= bound
    if not inside.any():
        raise InfeasibleError(f"no architecture of the table is within {dict(problem.constraints)}")
    front = values[inside][pareto.front_mask(values[inside])]
    extent = np.ptp(front, axis=0)
    return front, front.max(axis=0) + BEYOND * np.where(extent > 0, extent, 1.0)


def traced(archive: Archive, problem: Problem, reference: Floats, scale: float, n: int) -> tuple[Floats, Floats]:
    """Shares of the hypervolume and best values [n] after each evaluation; the last ones stay where it ended early."""
    first, way = next(iter(problem.objectives.items()))
    sign = -1.0 if way == "maximize" else 1.0
    values = [sign * t.values[first] if problem.violation(t.values) == 0 else np.inf for t in archive.trials()]
    best = np.minimum.accumulate(np.array(values))
    shares = archive.hypervolumes(problem, reference) / scale
    places = np.minimum(np.arange(n), len(best) - 1)
    return shares[places], np.where(np.isfinite(best), sign * best, np.nan)[places]


def quartiles(values: Floats) -> dict[str, list[float | None]]:
    """Lower quartile, median and upper quartile over the seeds [seeds, n]; null where a seed has no value yet."""
    found = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
    return {
        name: [round(float(value), 6) if np.isfinite(value) else None for value in row]
        for name, row in zip(("low", "median", "high"), found, strict=True)
    }


def reached(volumes: Floats) -> dict[str, float | None]:
    """Quartiles over the seeds of the evaluations until the share `REACHED`; null where too few seeds came so far."""
    first = np.where((volumes >= REACHED).any(axis=1), (volumes >= REACHED).argmax(axis=1) + 1.0, np.inf)
    found = np.quantile(first, [0.25, 0.5, 0.75], method="higher")
    names = ("low", "median", "high")
    return {name: float(value) if np.isfinite(value) else None for name, value in zip(names, found, strict=True)}


def ranked(curves: dict[str, Curves], at: int) -> dict[str, Any]:
    """Median hypervolumes after so many evaluations, and mean ranks over the seeds: 1 is the best, ties share."""
    volumes = np.stack([found.volume[:, min(at, found.volume.shape[1]) - 1] for found in curves.values()])
    ranks = rankdata(-volumes, axis=0).mean(axis=1)
    rows = [
        {"name": name, "median": float(np.median(own)), "rank": float(rank)}
        for name, own, rank in zip(curves, volumes, ranks, strict=True)
    ]
    return {"evaluations": at, "rows": sorted(rows, key=lambda row: -row["median"])}
