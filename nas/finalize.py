"""Finalize: the front's architectures become networks of their own, exported and measured."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from nas.archive import Trial
from nas.config import Finalize
from nas.export._bundle import read_bundle, write_bundle
from nas.export._role import Deployable
from nas.files import write_atomic
from nas.training._fit import Fit
from nas.training._role import Trainee
from nas.training.sandwich import Sandwich
from nas.twins import measure_twins
from searchspaces.architecture import Architecture
from searchspaces.placements import Placements
from searchspaces.space import SearchSpace

if TYPE_CHECKING:
    from nas.run import Run


def finalize(run: Run) -> list[dict[str, Any]]:
    """Exports what `finalize.models` allows of the front and writes `front.json` and `front.csv`.

    An architecture that is exported already is not exported again.
    """
    with run.open_archive() as archive:
        found = archive.front(run.problem)
        chosen = [found[number] for number in spread(coordinates(run, found), run.experiment.finalize.models)]
    front = []
    with run.progress.phase("export", total=len(chosen)) as phase:
        for trial in chosen:
            front.append(exported(run, trial, run.folder / "exports" / trial.architecture_id))
            phase.advance()
            run.check()
    write_front(run.folder, front)
    measure_twins(run, front)
    return front


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
    architecture = Architecture.parse(trial.architecture)
    state = trained(run, architecture)
    model = Deployable(architecture, state, run.task, run.experiment.hardware, trial.values)
    return write_bundle(model, folder, formats)


def trained(run: Run, architecture: Architecture) -> dict[str, torch.Tensor]:
    """The weights of one architecture, fine-tuned where the configuration asks for it, statistics recalibrated."""
    settings, supernet = run.experiment.finalize, run.trainee.supernet
    if settings.epochs:
        supernet = supernet.specialize(architecture)
        alone = Placements(SearchSpace(architecture.input_shape, architecture.layers))
        fit = Fit(fine_tuning(run, settings), Trainee(supernet, alone, run.task), run.experiment.seed, tuning=True)
        fit.run(run.progress, f"fine-tune {architecture.id}")
    network = supernet.subnet(architecture)
    network.recalibrate([inputs for inputs, _ in run.task.calibration()])
    return network.state()


def fine_tuning(run: Run, settings: Finalize) -> Sandwich:
    """The sandwich of one: training of a single architecture."""
    training = run.experiment.training
    return Sandwich(
        epochs=settings.epochs,
        batch_size=training.batch_size,
        learning_rate=settings.learning_rate,
        weight_decay=training.weight_decay,
        clip=training.clip,
    )


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
