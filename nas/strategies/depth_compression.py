"""Depth compression: Kim et al., "Efficient latency-aware CNN depth compression via two-stage dynamic programming".

arXiv:2301.12187 (2023).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from pydantic import Field

from nas.archive import Archive
from nas.problem import Floats, Genes, Problem
from nas.strategies._candidates import Seen
from nas.strategies._cuts import continued, largest, size
from nas.strategies._depth import Compressed, Marks, compressions
from nas.strategies._role import Strategy


class DepthCompression(Strategy):
    """Chooses which activations to leave out and which convolutions to merge, by two-stage dynamic programming.

    The decisions are the open joints of `convolution_run`s; all others stay as in the largest architecture. The latency
    of a merged stretch is what the network costs less with it alone merged; its importance is how little the outputs
    change when its activations alone are left out, on the calibration images and under the shared weights as they are
    (the paper fine-tunes and measures accuracy). Proposed are the architectures that are best for any budget, the
    nearest to the whole network first, and then mutations of the front. Where there are no outputs to compare (in a
    table) each activation is as important as another.
    """

    batch_size: int = Field(default=10, ge=1)
    """Evaluations between two looks at the archive."""

    def ask(self, problem: Problem, archive: Archive, seed: int) -> Genes:
        """The next compressions."""
        return continued(problem, archive, proposals(problem), self.batch_size, seed)


@dataclass(frozen=True)
class Joint:
    """A decision about what is between two convolutions."""

    column: int
    run: str
    """Path of the joints that it is one of."""
    place: int
    options: tuple[Any, ...]


def proposals(problem: Problem) -> Genes:
    """Architectures within the bounds that are best for some budget, the most important first: [n, decisions]."""
    runs = open_runs(problem)
    start = np.array(largest(problem))
    for joint in (joint for run in runs for joint in run):
        start[joint.column] = joint.options.index("activation")
    rows = [start]
    if runs:
        ways = compressions(*_tables(problem, start, runs))
        rows += [_row(start, runs, way) for way in reversed(ways)]
    found = np.array(rows, dtype=np.int64)
    found = found[problem.feasible(found)]
    return found[Seen(found[:0]).new(found)]


def open_runs(problem: Problem) -> list[list[Joint]]:
    """The joints that can be activations or mergers, those of neighbouring convolutions together."""
    found = []
    for column, decision in enumerate(problem.space.decisions):
        options = tuple(getattr(decision, "options", ()))
        if {"activation", "merged"} <= set(map(str, options)):
            run, _, place = decision.name.rpartition(".")
            found.append(Joint(column, run, int(place), options))
    found.sort(key=lambda joint: (joint.run, joint.place))
    grouped = groupby(enumerate(found), key=lambda item: (item[1].run, item[1].place - item[0]))
    return [[joint for _, joint in run] for _, run in grouped]


def _tables(problem: Problem, start: Genes, runs: list[list[Joint]]) -> tuple[Floats, Floats, Floats]:
    """Latency of stretches, of parting, and importance of stretches, all as differences from the whole network.

    The convolutions of all runs are numbered on: a run of j joints has j + 1, and no stretch reaches into the next run.
    """
    convolutions = sum(len(run) + 1 for run in runs)
    latency = np.full((convolutions + 1, convolutions + 1), np.inf)
    importance, parting = np.full_like(latency, -np.inf), np.full(convolutions + 1, np.inf)
    first = 0
    for run in runs:
        for k in range(len(run) + 1):
            for end in range(k + 1, len(run) + 2):
                inside = run[k : end - 1]
                latency[first + k, first + end] = _added(problem, start, inside, "merged")
                importance[first + k, first + end] = -_lost(problem, start, inside)
        for place, joint in enumerate(run, first + 1):
            if "linear" in joint.options:
                parting[place] = _added(problem, start, [joint], "linear")
        first += len(run) + 1
    return latency, parting, importance


def _with(start: Genes, joints: list[Joint], option: str) -> Genes:
    """The row with some joints set: [1, decisions]."""
    row = start[None].copy()
    for joint in joints:
        row[0, joint.column] = joint.options.index(option if option in joint.options else "merged")
    return row


def _added(problem: Problem, start: Genes, joints: list[Joint], option: str) -> float:
    """What the network costs more with some joints set."""
    return float(size(problem, _with(start, joints, option))[0] - size(problem, start[None])[0]) if joints else 0.0


def _lost(problem: Problem, start: Genes, joints: list[Joint]) -> float:
    """How much the outputs change without the activations of some joints."""
    if not joints or problem.distance is None:
        return float(len(joints))
    return float(problem.distance(start, _with(start, joints, "linear"))[0])


def _row(start: Genes, runs: list[list[Joint]], way: Compressed) -> Genes:
    """The row [decisions] of one way to compress."""
    row, first = start.copy(), 0
    for run in runs:
        for place, joint in enumerate(run, first + 1):
            row[joint.column] = joint.options.index(_option(place, way.kept, way.parted))
        first += len(run) + 1
    return row


def _option(place: int, kept: Marks, parted: Marks) -> str:
    """What stands behind a convolution."""
    return "activation" if place in kept else "linear" if place in parted else "merged"
