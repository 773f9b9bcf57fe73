"""Quality of the shared weights: whether they rank architectures as training each one alone does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nas.executors._context import Context
from nas.executors._pool import Job, Lost, Tell
from nas.files import write_atomic
from nas.progress import ToldProgress
from searchspaces.architecture import Architecture
from searchspaces.placements import Placements
from searchspaces.space import Genes, SearchSpace

if TYPE_CHECKING:
    from nas.run import Run

FILE = "quality.json"
_STREAM = 1
"""Keeps the draw of the compared architectures apart from other uses of the seed."""


@dataclass(frozen=True)
class Compared:
    """One architecture's errors on the validation images."""

    id: str
    genes: tuple[int, ...]
    error_shared: float
    """Under the shared weights."""
    error_alone: float
    """After training alone, from scratch."""


@dataclass(frozen=True)
class Ranking:
    """The comparison as far as it has come.

    Attributes:
        epochs: for which each architecture was trained alone.
        compared: the architectures, in the order in which they were drawn.
        kendall_tau: rank correlation of both errors, ties in account (tau-b); None where it is not defined.
        p_value: the probability of one as far from 0 among unrelated rankings.
    """

    epochs: int
    compared: tuple[Compared, ...]
    kendall_tau: float | None
    p_value: float | None

    @classmethod
    def of(cls, epochs: int, compared: Sequence[Compared]) -> Ranking:
        """The comparison of these architectures."""
        from scipy.stats import kendalltau

        if len(compared) < 2:
            return cls(epochs, tuple(compared), None, None)
        found = kendalltau([one.error_shared for one in compared], [one.error_alone for one in compared])
        tau, p_value = (float(value) if np.isfinite(value) else None for value in found)
        return cls(epochs, tuple(compared), tau, p_value)


def measure_quality(run: Run) -> None:
    """Compares as many architectures as the configuration asks for, and writes `quality.json` after each.

    Those that the file holds already are not trained again. The weights of the run must be trained.
    """
    settings, known = run.experiment.quality, read_quality(run.folder)
    epochs = run.experiment.training.epochs if settings.epochs is None else settings.epochs
    rows = distinct(run.space, settings.architectures, run.experiment.seed)
    done = {one.genes: one for one in known.compared} if known and known.epochs == epochs else {}
    jobs = [Comparing(genes, epochs) for genes in rows if genes not in done]
    if not jobs:
        return
    with run.progress.phase("quality", total=len(rows), done=len(rows) - len(jobs)) as phase:
        results = run.pool.map(jobs, run.check)
        for job, found in zip(jobs, results, strict=True):
            if not isinstance(found, Lost):
                done[job.genes] = found
            phase.advance(note=_write(run.folder, Ranking.of(epochs, [done[genes] for genes in rows if genes in done])))
    run.check()


def _write(folder: Path, ranking: Ranking) -> str:
    """Writes `quality.json`; returns a few words on it."""
    write_atomic(folder / FILE, json.dumps(asdict(ranking), indent=1))
    return "" if ranking.kendall_tau is None else f"tau {ranking.kendall_tau:.2f}"


def distinct(space: SearchSpace, count: int, seed: int) -> list[tuple[int, ...]]:
    """So many different architectures, or all if there are fewer, drawn uniformly: canonical rows."""
    rng = np.random.default_rng((seed, _STREAM))
    found: dict[tuple[int, ...], None] = {}
    while len(found) < min(count, space.count):
        found |= dict.fromkeys(tuple(map(int, row)) for row in space.sample(rng, count))
    return list(found)[:count]


@dataclass(frozen=True)
class Comparing(Job[Compared]):
    """One architecture under the shared weights and alone."""

    genes: tuple[int, ...]
    epochs: int

    def run(self, context: Context, tell: Tell) -> Compared:
        """Both errors on the validation images."""
        row: Genes = np.array(self.genes, dtype=np.int64)
        architecture = context.trainee.placements.space.decode(row)
        shared = context.evaluator.error(row)
        return Compared(architecture.id, self.genes, shared, error_alone(context, architecture, self.epochs, tell))


def error_alone(
    context: Context, architecture: Architecture, epochs: int, tell: Tell, split: str = "validation"
) -> float:
    """The error of an architecture on one split after so many epochs of its own, from fresh weights."""
    from nas.evaluator import error
    from nas.training._fit import Fit
    from nas.training._role import Trainee
    from nas.training.single_path import SinglePath
    from searchspaces.supernet import Supernet

    experiment, task = context.experiment, context.trainee.task
    placements = Placements(SearchSpace(architecture.input_shape, architecture.layers))
    trainee = Trainee(Supernet(placements), placements, task)
    Fit(SinglePath.alone(experiment.training, epochs), trainee, experiment.seed).run(ToldProgress(tell), "alone")
    network = trainee.supernet.subnet(architecture)
    network.recalibrate([inputs for inputs, _ in task.calibration()])
    return error(network, task, split)


def read_quality(folder: Path) -> Ranking | None:
    """What `quality.json` holds; None where there is none."""
    path = folder / FILE
    if not path.is_file():
        return None
    data = json.loads(path.read_text(encoding="utf-8"))
    compared = tuple(Compared(**{**entry, "genes": tuple(entry["genes"])}) for entry in data["compared"])
    return Ranking(data["epochs"], compared, data["kendall_tau"], data["p_value"])
