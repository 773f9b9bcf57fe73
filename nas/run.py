"""A run: profile, train, quality, search, finalize, report; each phase takes up where it was left."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import torch
import yaml

from nas.archive import Archive, Trial
from nas.config import Experiment
from nas.evaluator import CostTables
from nas.executors._context import Context
from nas.executors._pool import Job, Lost, Pool, Tell
from nas.files import write_atomic
from nas.problem import Direction, Problem
from nas.profiling import Profiler
from nas.progress import Progress
from nas.quality import measure_quality
from nas.training._fit import Fit
from nas.training._group import ALONE, Group
from nas.training._role import Trainee
from nas.verification import Verification
from nas.versions import versions
from predictors.encodings.space import SpaceEncoding
from searchspaces.networks._role import Signature
from searchspaces.placements import Placements
from searchspaces.space import Genes, SearchSpace
from searchspaces.supernet import Supernet

if TYPE_CHECKING:
    from nas.tasks._loaded import LoadedTask


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

        self.experiment.executor.check()
        if self.experiment.finalize.tune:
            self.experiment.finalize.tune.check()
        with self.open_archive():
            self.write_resolved()
        self.problem.sample_feasible(np.random.default_rng(self.experiment.seed), 1)
        self.train()
        try:
            measure_quality(self)
            self.search()
            front = finalize(self)
        finally:
            self.pool.close()
        write_report(self.folder)
        return front

    @cached_property
    def task(self) -> LoadedTask:
        """The task with its data."""
        found: LoadedTask = self.experiment.task.load()
        return found

    @cached_property
    def space(self) -> SearchSpace:
        """What is searched."""
        return SearchSpace.of(self.experiment.space, Signature(*self.task.signature()))

    @cached_property
    def placements(self) -> Placements:
        """Every block that the space can put at each place."""
        return Placements(self.space)

    @cached_property
    def profiler(self) -> Profiler:
        """What is measured of the hardware."""
        found = self.experiment
        return Profiler(found.hardware, self.placements, found.profile, found.predictor, self.progress, found.seed)

    @cached_property
    def costs(self) -> CostTables:
        """Costs of whole populations."""
        wanted = {*self.experiment.objectives, *self.experiment.constraints}
        energy = {"energy_mj": self.profiler.energy} if "energy_mj" in wanted else {}
        return CostTables(self.placements, {"latency_ms": self.profiler.latency, **energy})

    @cached_property
    def problem(self) -> Problem:
        """Objectives and bounds over the space."""
        objectives = cast(dict[str, Direction], self.experiment.objectives)
        constraints = cast(dict[str, float], self.experiment.constraints)
        encoding = SpaceEncoding(self.placements)
        return Problem(self.space, objectives, constraints, self.costs.upper, encoding, self.distances)

    def distances(self, reference: Genes, rows: Genes) -> npt.NDArray[np.float64]:
        """How far the outputs of rows' networks are from those of one row's, under the shared weights."""
        return self.context.evaluator.distances(reference, rows)

    @cached_property
    def trainee(self) -> Trainee:
        """The shared weights: of a trained network, or freshly initialized from the seed."""
        torch.manual_seed(self.experiment.seed)
        pretrained = None if self.checkpoint.exists() else self.experiment.pretrained
        supernet = pretrained.supernet(self.placements, self.task) if pretrained else Supernet(self.placements)
        return Trainee(supernet, self.placements, self.task)

    @property
    def checkpoint(self) -> Path:
        """Where the shared weights are kept."""
        return self.folder / "checkpoints" / "supernet.safetensors"

    @cached_property
    def context(self) -> Context:
        """What jobs need of this run."""
        return Context(self.experiment, self.trainee)

    @cached_property
    def pool(self) -> Pool:
        """The workers, who know the shared weights as they are when the first job is begun."""
        return self.experiment.executor.pool(self.context)

    @property
    def fingerprint(self) -> str:
        """All that the search's course depends on: not where it is computed, nor what is told beside it."""
        beside = ("executor", "quality")
        resolved = {name: value for name, value in self.experiment.resolved().items() if name not in beside}
        return json.dumps(resolved, sort_keys=True)

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

    def train(self, group: Group = ALONE) -> None:
        """Trains the shared weights, or loads them."""
        experiment = self.experiment
        fit = Fit(experiment.training, self.trainee, experiment.seed, self.checkpoint, group=group)
        fit.run(self.progress, "train", self.check)

    def search(self) -> None:
        """Asks the strategy and evaluates what it proposes, until its evaluations are spent."""
        total = self.experiment.strategy.evaluations
        with self.open_archive() as archive, self.progress.phase("search", total=total, done=len(archive)) as phase:
            verification = Verification(self.profiler, self.problem, archive)
            while len(archive) < total and len(rows := self.candidates(archive)):
                for row, error in zip(rows, self.errors(rows), strict=True):
                    archive.add(self.trial(len(archive), row, error))
                    phase.advance(note=f"front {len(archive.front(self.problem))}")
                self.check()
                verification.catch_up()
            verification.finish()

    def errors(self, rows: Genes) -> Iterator[float | Lost]:
        """The errors of rows [n, decisions], in their order."""
        jobs = [Judgement(tuple(int(gene) for gene in row)) for row in rows]
        return self.pool.map(jobs, self.check)

    def candidates(self, archive: Archive) -> Genes:
        """What the strategy proposes, up to the next verification."""
        strategy, every = self.experiment.strategy, self.experiment.profile.every
        rows = strategy.ask(self.problem, archive, self.experiment.seed)
        return rows[: min(strategy.evaluations, (len(archive) // every + 1) * every) - len(archive)]

    def trial(self, number: int, row: Genes, error: float | Lost) -> Trial:
        """One architecture that was evaluated, or whose evaluation was lost."""
        architecture = self.space.decode(row)
        genes = tuple(int(gene) for gene in row)
        costs = {name: float(value[0]) for name, value in self.costs(row[None]).items()}
        if isinstance(error, Lost):
            return Trial(number, architecture.id, genes, architecture.describe(), costs, "crashed", error.reason)
        return Trial(number, architecture.id, genes, architecture.describe(), {"error": error, **costs})


@dataclass(frozen=True)
class Judgement(Job[float]):
    """The error of one architecture under the shared weights."""

    genes: tuple[int, ...]

    def run(self, context: Context, tell: Tell) -> float:
        """The error on the validation images."""
        return context.evaluator.error(np.array(self.genes, dtype=np.int64))
