"""Finalize: the front's architectures become networks of their own, exported and measured."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nas.archive import Trial
from nas.executors._context import Context
from nas.executors._pool import Job, Lost, Tell, reproducible
from nas.export._bundle import finish_draft, read_bundle, write_bundle, write_draft
from nas.export._manifest import faults
from nas.export._role import Deployable, ExportError
from nas.files import write_atomic
from nas.progress import ToldProgress
from nas.training._fit import Fit
from nas.training._role import Trainee
from nas.training.single_path import SinglePath
from nas.tuning import tune, tuned, tuned_folder
from nas.twins import measure_twins
from searchspaces.architecture import Architecture
from searchspaces.placements import Placements
from searchspaces.space import SearchSpace

if TYPE_CHECKING:
    from nas.run import Run


def finalize(run: Run) -> list[dict[str, Any]]:
    """Exports what `finalize.models` allows of the front and writes `front.json` and `front.csv`.

    An architecture that is exported already is not exported again. Files are made by all workers; latencies are
    measured once no worker is left, one after the other.
    """
    with run.open_archive() as archive:
        found = archive.front(run.problem)
        chosen = [found[number] for number in spread(coordinates(run, found), run.experiment.finalize.models)]
    missing = [trial for trial in chosen if read_bundle(bundle_folder(run, trial)) is None]
    tune(run, missing)
    draft(run, missing, len(chosen))
    run.pool.close()
    with run.progress.phase("measure", total=len(chosen), done=len(chosen) - len(missing)) as phase:
        for trial in missing:
            finish_draft(deployable(run, trial), draft_folder(run, trial), bundle_folder(run, trial))
            phase.advance()
            run.check()
    front = [known for trial in chosen if (known := read_bundle(bundle_folder(run, trial))) is not None]
    write_front(run.folder, front)
    measure_twins(run, front)
    return front


def draft(run: Run, trials: Sequence[Trial], total: int) -> None:
    """Fine-tunes, writes and verifies the files of these trials, but for those whose drafts are there."""
    wanted = [trial for trial in trials if faults(draft_folder(run, trial))]
    names = [trial.architecture_id for trial in wanted]
    jobs = [Drafting(trial, draft_folder(run, trial).absolute(), tuned_folder(run, trial)) for trial in wanted]
    with run.progress.phase("export", total=total, done=total - len(jobs)) as phase:
        results = run.pool.map(jobs, run.check, lambda number, words: phase.advance(0, f"{names[number]}: {words}"))
        for trial, result in zip(wanted, results, strict=True):
            if isinstance(result, Lost):
                raise ExportError(f"{trial.architecture_id}: {result.reason}")
            if wrong := faults(draft_folder(run, trial)):
                raise ExportError(f"{wrong[0]}; workers on other machines need a file system that all of them share")
            phase.advance()
    run.check()


def bundle_folder(run: Run, trial: Trial) -> Path:
    """Where the files of an architecture are."""
    return run.folder / "exports" / trial.architecture_id


def draft_folder(run: Run, trial: Trial) -> Path:
    """Where they are until they are measured."""
    return run.folder / "checkpoints" / "drafts" / trial.architecture_id


def deployable(run: Run, trial: Trial) -> Deployable:
    """The architecture, without weights."""
    return Deployable(Architecture.parse(trial.architecture), {}, run.task, run.experiment.hardware, trial.values)


@dataclass(frozen=True)
class Drafting(Job[None]):
    """The files of one architecture: fine-tuned, written and verified."""

    trial: Trial
    folder: Path
    tuned: Path

    def run(self, context: Context, tell: Tell) -> None:
        """Writes the draft of the bundle."""
        write_draft(trained(context, self.trial, self.tuned, tell), self.folder, tell)


def spread(values: npt.NDArray[np.float64], most: int) -> list[int]:
    """Numbers of at most so many points, far from each other, in the order of their last coordinate.

    The best in each coordinate first, then always the point that is farthest from those chosen (Gonzalez 1985).

    Args:
        values: coordinates [n, m] that are minimized.
        most: how many to choose.
    """
    extent = np.ptp(values, axis=0)
    scaled = (values - values.min(axis=0)) / np.where(extent > 0, extent, 1.0)
    chosen = list(dict.fromkeys(int(best) for best in values.argmin(axis=0)))[:most]
    while len(chosen) < min(most, len(values)):
        distance = np.linalg.norm(scaled[:, None] - scaled[chosen], axis=2).min(axis=1)
        distance[chosen] = -1.0
        chosen.append(int(distance.argmax()))
    return sorted(chosen, key=lambda number: tuple(values[number][::-1]))


def coordinates(run: Run, front: list[Trial]) -> npt.NDArray[np.float64]:
    """Objectives of the front [n, m], costs on a logarithmic scale."""
    values = np.array([run.problem.minimized(trial.values) for trial in front])
    costs = [name != "error" and way == "minimize" for name, way in run.problem.objectives.items()]
    values[:, costs] = np.log(np.maximum(values[:, costs], 1e-12))
    return values


def exported(run: Run, trial: Trial, folder: Path, formats: list[str] | None = None) -> dict[str, Any]:
    """The bundle of one architecture in its folder, written unless it is there."""
    known = read_bundle(folder) if formats is None else None
    if known is not None:
        return known
    with run.progress.phase("export", total=1) as phase:
        with reproducible(run.experiment.seed):
            model = trained(run.context, trial, tuned_folder(run, trial), lambda words: phase.advance(0, words))
        found = write_bundle(model, folder, formats)
        phase.advance()
    return found


def trained(context: Context, trial: Trial, folder: Path, tell: Tell) -> Deployable:
    """An architecture with its weights, fine-tuned where the configuration asks for it, statistics recalibrated.

    The weights are those that it was trained to from scratch, if it was (in this folder), else the shared ones.
    """
    experiment, task = context.experiment, context.trainee.task
    architecture = Architecture.parse(trial.architecture)
    supernet = tuned(context, architecture, folder) or context.trainee.supernet
    if experiment.finalize.epochs:
        supernet = supernet.specialize(architecture)
        alone = Placements(SearchSpace(architecture.input_shape, architecture.layers))
        training = SinglePath.alone(experiment.training, experiment.finalize.epochs, experiment.finalize.learning_rate)
        fit = Fit(training, Trainee(supernet, alone, task), experiment.seed, tuning=True)
        fit.run(ToldProgress(tell), "fine-tune")
    network = supernet.subnet(architecture)
    network.recalibrate([inputs for inputs, _ in task.calibration()])
    return Deployable(architecture, network.state(), task, experiment.hardware, trial.values)


def write_front(folder: Path, front: list[dict[str, Any]]) -> None:
    """`front.json`, and the plain values of it as `front.csv`."""
    write_atomic(folder / "front.json", json.dumps(front, indent=1))
    rows = [
        {key: value for key, value in flat(entry).items() if not isinstance(value, list | tuple)} for entry in front
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(dict.fromkeys(key for row in rows for key in row)))
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(folder / "front.csv", text.getvalue())


def flat(entry: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values under dotted names, without the architecture."""
    found: dict[str, Any] = {}
    for key, value in entry.items():
        if isinstance(value, dict) and key != "architecture":
            found |= flat(value, f"{prefix}{key}.")
        elif key != "architecture":
            found[f"{prefix}{key}"] = value
    return found
