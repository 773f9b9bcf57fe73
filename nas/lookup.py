"""A search over a table: what is looked up needs no networks, no hardware and no training."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field

from nas.archive import Archive, Trial
from nas.files import write_atomic
from nas.problem import Direction, Problem
from nas.progress import Progress
from nas.strategies._role import Strategy
from nas.tasks._table import Table
from nas.tasks.tabular import Tabular
from nas.versions import versions
from searchspaces.part import Part


class Lookup(Part):
    """One search over a table."""

    task: Tabular
    objectives: Annotated[dict[str, Direction], Field(min_length=1)]
    constraints: dict[str, float] = {}
    strategy: Strategy
    seed: Annotated[int, Field(ge=0)] = 0


def trials(strategy: Strategy, table: Table, problem: Problem, archive: Archive, seed: int) -> Iterator[Trial]:
    """What the strategy proposes, looked up and archived, until its evaluations are spent or the table is."""
    while len(archive) < strategy.evaluations and len(rows := strategy.ask(problem, archive, seed)):
        for row in rows[: strategy.evaluations - len(archive)]:
            archive.add(found := table.trial(len(archive), row))
            yield found


@dataclass
class LookupRun:
    """A search over a table in one folder; `check` may raise to stop, between two batches."""

    experiment: Lookup
    folder: Path
    progress: Progress
    check: Callable[[], None] = lambda: None

    @cached_property
    def problem(self) -> Problem:
        """Objectives and bounds over the table."""
        return self.table.problem(self.experiment.objectives, self.experiment.constraints)

    @cached_property
    def table(self) -> Table:
        """What is looked up."""
        return self.experiment.task.load()

    def execute(self) -> list[dict[str, Any]]:
        """Searches, or goes on; returns the front as `front.json` holds it."""
        found, problem, table = self.experiment, self.problem, self.table
        data = {name: value for name, value in found.describe().items() if name != "kind"}
        total = found.strategy.evaluations
        with (
            Archive.open(self.folder / "archive.sqlite", json.dumps(data, sort_keys=True)) as archive,
            self.progress.phase("search", total=total, done=len(archive)) as phase,
        ):
            text = yaml.safe_dump({**data, "versions": versions()}, sort_keys=False, width=120)
            write_atomic(self.folder / "resolved.yaml", text)
            for _ in trials(found.strategy, table, problem, archive, found.seed):
                phase.advance(note=f"front {len(archive.front(problem))}")
                self.check()
            best = archive.front(problem)
        front = [{"id": t.architecture_id, "architecture": t.architecture, "values": t.values} for t in best]
        write_atomic(self.folder / "front.json", json.dumps(front, indent=1))
        return front
