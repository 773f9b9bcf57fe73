"""A run: profile, train, search, finalize, report; each phase takes up where it was left."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
import yaml

from hardware.profile import Profile, measured_networks, profile, unknown, wanted
from hardware.store import LatencyStore
from nas import folders
from nas.archive import Archive, Trial
from nas.config import Experiment
from nas.evaluator import CostTables, Evaluator
from nas.files import write_atomic
from nas.problem import Direction, Problem
from nas.progress import Phase, Progress
from nas.training._fit import Fit
from nas.training._role import Trainee
from nas.versions import versions
from predictors.latency_table import LatencyTable
from searchspaces.networks._role import Signature
from searchspaces.placements import Placements
from searchspaces.space import Genes, SearchSpace
from searchspaces.supernet import Supernet

if TYPE_CHECKING:
    from nas.tasks._loaded import LoadedTask

WHOLE_NETWORKS = 8
"""Random networks that are measured whole, to learn what the sum of their blocks misses."""


@dataclass
class Run:
    """One experiment in one folder.

    `check` is called where stopping loses nothing, and may raise to stop.
    """

    experiment: Experiment
    folder: Path
    progress: Progress
    check: Callable[[], None] = lambda: None

    def execute(self) -> list[dict[str, Any]]:
        """All phases; returns the front as `front.json` holds it.

        Raises:
            InfeasibleError: no architecture is within the constraints.
        """
        from nas.finalize import finalize
        from nas.report.page import write_report

        with self.open_archive():
            self.write_resolved()
        self.problem.sample_feasible(np.random.default_rng(self.experiment.seed), 1)
        self.train()
        self.search()
        front = finalize(self)
        write_report(self.folder)
        return front

    @cached_property
    def task(self) -> LoadedTask:
        """The task with its data."""
        return self.experiment.task.load()

    @cached_property
    def space(self) -> SearchSpace:
        """What is searched."""
        return SearchSpace.of(self.experiment.space, Signature(*self.task.signature()))

    @cached_property
    def placements(self) -> Placements:
        """Every block that the space can put at each place."""
        return Placements(self.space)

    @cached_property
    def profile(self) -> Profile:
        """The latencies of the space's blocks, measured where the user's table lacks them."""
        with LatencyStore(folders.latency_table()) as store:
            return self.measured(store)

    @cached_property
    def latency(self) -> LatencyTable:
        """The latency of every architecture: the profile, scaled to a few whole networks."""
        table = LatencyTable(self.placements, self.profile)
        rows = self.space.sample(np.random.default_rng(0), WHOLE_NETWORKS)
        networks = [self.space.decode(row) for row in rows]
        with LatencyStore(folders.latency_table()) as store, self.progress.phase("calibrate", len(rows)) as phase:
            advance = Advance(phase, len(rows))
            measurements = measured_networks(networks, self.experiment.hardware, store, progress=advance)
            advance(1, 1)
        table.fit(rows, measurements)
        return table

    @cached_property
    def costs(self) -> CostTables:
        """Costs of whole populations."""
        return CostTables(self.placements, self.latency)

    @cached_property
    def problem(self) -> Problem:
        """Objectives and bounds over the space."""
        objectives = cast(dict[str, Direction], self.experiment.objectives)
        constraints = cast(dict[str, float], self.experiment.constraints)
        return Problem(self.space, objectives, constraints, self.costs)

    @cached_property
    def trainee(self) -> Trainee:
        """The shared weights, freshly initialized from the seed."""
        torch.manual_seed(self.experiment.seed)
        return Trainee(Supernet(self.placements), self.placements, self.task)

    def measured(self, store: LatencyStore) -> Profile:
        """The profile of the space on the experiment's backend."""
        backend, shape, units = self.experiment.hardware, self.space.input_shape, self.placements.units
        every = wanted(backend, units, shape)
        missing = len(unknown(every, store.get(backend.key())))
        with self.progress.phase("profile", total=len(every), done=len(every) - missing) as phase:
            return profile(units, shape, backend, store, progress=Advance(phase, missing))

    @property
    def fingerprint(self) -> str:
        """All that the search's course depends on."""
        return json.dumps(self.experiment.resolved(), sort_keys=True)

    def write_resolved(self) -> None:
        """`resolved.yaml`: the whole configuration, the seed among it, and the versions that ran it."""
        text = yaml.safe_dump({**self.experiment.resolved(), "versions": versions()}, sort_keys=False, width=120)
        write_atomic(self.folder / "resolved.yaml", text)

    def open_archive(self) -> Archive:
        """The run's archive, begun or continued.

        Raises:
            ResumeRefused: it was begun with another configuration.
        """
        return Archive.open(self.folder / "archive.sqlite", self.fingerprint)

    def train(self) -> None:
        """Trains the shared weights, or loads them."""
        checkpoint = self.folder / "checkpoints" / "supernet.safetensors"
        fit = Fit(self.experiment.training, self.trainee, self.experiment.seed, checkpoint)
        fit.run(self.progress, "train", self.check)

    def search(self) -> None:
        """Asks the strategy and evaluates what it proposes, until its evaluations are spent."""
        strategy = self.experiment.strategy
        evaluator = Evaluator(self.trainee.supernet, self.task, self.costs)
        with self.open_archive() as archive:
            if len(archive) >= strategy.evaluations:
                return
            with self.progress.phase("search", total=strategy.evaluations, done=len(archive)) as phase:
                for row in self.candidates(archive):
                    archive.add(self.trial(len(archive), row, evaluator))
                    phase.advance(note=f"front {len(archive.front(self.problem))}")
                    self.check()

    def candidates(self, archive: Archive) -> Iterator[Genes]:
        """What the strategy proposes, asked anew whenever its last proposals are archived."""
        strategy = self.experiment.strategy
        while len(archive) < strategy.evaluations:
            rows = strategy.ask(self.problem, archive, self.experiment.seed)
            if not len(rows):
                return
            yield from rows[: strategy.evaluations - len(archive)]

    def trial(self, number: int, row: Genes, evaluator: Evaluator) -> Trial:
        """One evaluated architecture."""
        architecture = self.space.decode(row)
        genes = tuple(int(gene) for gene in row)
        return Trial(number, architecture.id, genes, architecture.describe(), dict(evaluator.evaluate(row)))


class Advance:
    """Turns the share that a measurement has done into steps of a phase."""

    def __init__(self, phase: Phase, total: int) -> None:
        self.phase, self.total, self.done = phase, total, 0

    def __call__(self, done: int, of: int) -> None:
        """Advances by what is newly done."""
        steps = self.total * done // of
        self.phase.advance(steps - self.done)
        self.done = steps
