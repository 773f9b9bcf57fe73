"""What a run has found, read from its folder alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from nas.archive import OK, Archive, ArchiveError, Trial
from nas.config import Experiment, read_run
from nas.problem import Direction, Floats, Problem
from nas.quality import Ranking, read_quality
from nas.report.front import Model, read_front
from nas.twins import read_twins
from searchspaces.architecture import Architecture
from searchspaces.networks._role import Signature
from searchspaces.space import SearchSpace

ENLARGED = 0.05
"""By which share of the range the reference of the hypervolume lies beyond the worst value."""
_FALLBACK = ("error", "latency_ms")


@dataclass(frozen=True)
class Results:
    """A run's configuration, evaluations and exported models.

    Attributes:
        text: `resolved.yaml` as it stands.
        trials: every evaluated architecture, in order.
        front: those that are within the bounds and not dominated, as the search believed.
        volumes: share [n] of the box of hypervolume that the front dominates after each trial; see `volumes`.
        models: the exported ones, measured.
        history: mean loss in each epoch, of the first network that each step trains.
        twins: speed of int8 over float32 for float32 models whose blocks were all put into int8 to compare.
        quality: how shared weights rank architectures, where that was asked for.
    """

    experiment: Experiment
    configuration: Mapping[str, Any]
    text: str
    versions: Mapping[str, str]
    problem: Problem
    trials: tuple[Trial, ...]
    front: tuple[Trial, ...]
    volumes: Floats
    models: tuple[Model, ...]
    history: tuple[float, ...]
    twins: tuple[float, ...] = ()
    quality: Ranking | None = None

    @property
    def space_size(self) -> int:
        """The number of architectures in the space."""
        return self.problem.space.count

    @cached_property
    def feasible(self) -> tuple[Trial, ...]:
        """The trials that are ok and within all bounds."""
        return tuple(trial for trial in self.evaluated if self.problem.violation(trial.values) == 0)

    @cached_property
    def evaluated(self) -> tuple[Trial, ...]:
        """The trials that are ok."""
        return tuple(trial for trial in self.trials if trial.state == OK)

    @property
    def axes(self) -> tuple[str, str]:
        """Names of the horizontal and the vertical value: the first two objectives, error upright."""
        names = [*self.problem.objectives][:2]
        names += [name for name in _FALLBACK if name not in names][: 2 - len(names)]
        return (names[0], names[1]) if names[1] == "error" else (names[1], names[0])

    @cached_property
    def ordered(self) -> list[Model]:
        """The exported models along the horizontal axis."""
        return sorted(self.models, key=lambda model: (model.measured(self.axes[0]) or 0.0, model.id))


def read_results(folder: Path) -> Results:
    """The results of the run in a folder.

    Raises:
        ConfigurationError: `resolved.yaml` is missing or not a configuration.
        ArchiveError: there is no archive, it cannot be read, or nothing is evaluated yet.
    """
    found, source = read_run(folder)
    path = folder / "archive.sqlite"
    with Archive.open(path, None) as archive:
        if not len(archive):
            raise ArchiveError(f"{path}: nothing is evaluated yet; continue the search first")
        objectives: dict[str, Direction] = {name: way for name, way in found.objectives.items()}  # noqa: C416
        bounds: dict[str, float] = {name: bound for name, bound in found.constraints.items()}  # noqa: C416
        problem = Problem(space_of(found, archive.trials()[0]), objectives, bounds)
        return Results(
            experiment=found,
            configuration=found.resolved(),
            text=(folder / "resolved.yaml").read_text(encoding="utf-8"),
            versions=source.data.get("versions", {}),
            problem=problem,
            trials=tuple(archive.trials()),
            front=tuple(archive.front(problem)),
            volumes=volumes(archive, problem),
            models=tuple(read_front(folder / "front.json")),
            history=tuple(read_history(folder / "checkpoints" / "supernet.safetensors")),
            twins=tuple(float(twin["float32_ms"]) / float(twin["int8_ms"]) for twin in read_twins(folder)),
            quality=read_quality(folder),
        )


def space_of(found: Experiment, trial: Trial) -> SearchSpace:
    """The space that was searched; the task's signature is that of any architecture in it."""
    architecture = Architecture.parse(trial.architecture)
    last = architecture.blocks()[-1]
    signature = Signature(architecture.input_shape, last.part.output_shape(last.shape)[0])
    return SearchSpace.of(found.space, signature)


def volumes(archive: Archive, problem: Problem) -> Floats:
    """Hypervolume [n] after each trial, as a share of the box between the best and the reference of each objective."""
    good = [trial for trial in archive.trials() if trial.state == OK and problem.violation(trial.values) == 0]
    points = np.array([problem.minimized(trial.values) for trial in good]).reshape(len(good), len(problem.objectives))
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        return np.zeros(len(archive))
    best, worst = points.min(axis=0), points.max(axis=0)
    reference = worst + ENLARGED * np.where(worst > best, worst - best, 1.0)
    return archive.hypervolumes(problem, reference) / float(np.prod(reference - best))


def read_history(path: Path) -> list[float]:
    """Mean loss of each epoch, from a checkpoint's metadata; empty without a checkpoint."""
    from safetensors import safe_open

    if not path.is_file():
        return []
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata() or {}
    return [float(loss) for loss in json.loads(metadata.get("history", "[]"))]
