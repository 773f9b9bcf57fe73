"""A hand-written family of networks against the front of a finished run.

The family is ResNet-like: three widths by three depths of basic blocks, in stages that halve the image. All of it
together is trained for as long as the run's shared weights were (`--seconds`, else measured here from the run's own
epochs), each member for an equal share, on the same task. It is judged on the same test images and measured on the same
backend; where the run's exported files are at hand they are measured again here, side by side with the family.

A baseline is matched if a model of the front is neither slower nor less accurate; `within_error` says whether one is
not slower and at most one standard error less accurate, where the error is that of the baseline's accuracy on so many
test images. Prints one JSON line for each baseline and a summary:

    {"benchmark": "baseline_family", "baselines": 9, "matched": 8, "within_error": 9, "seconds": 212.0, ...}
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from _timing import seconds
from basic_block import BasicBlock

from hardware.backends._role import Workload
from hardware.timing import FINAL, TimingSettings
from nas.config import Experiment, read, read_run
from nas.evaluator import error
from nas.progress import progress
from nas.tasks._loaded import LoadedTask
from nas.training._fit import Fit
from nas.training._role import Trainee, Training
from nas.training.sandwich import Sandwich
from searchspaces.architecture import Architecture
from searchspaces.blocks.classifier import Classifier
from searchspaces.blocks.convolution import Convolution
from searchspaces.networks._role import Signature
from searchspaces.placements import Placements
from searchspaces.space import SearchSpace
from searchspaces.supernet import Supernet

DIGITS = Path(__file__).parent.parent / "examples" / "digits.yaml"
WIDTHS, DEPTHS = (8, 16, 32), (1, 2, 3)
SMALLEST_IMAGE = 4
"""Stages halve the image down to this size, three stages at most."""
QUICK = TimingSettings(visits=2, rounds=1)


@dataclass(frozen=True)
class Model:
    """What counts of a network: its name, test accuracy and latency."""

    name: str
    accuracy: float
    latency_ms: float

    def matches(self, other: Model, slack: float = 0.0) -> bool:
        """Whether this one is not slower than the other, and less accurate by no more than the slack."""
        return self.latency_ms <= other.latency_ms and self.accuracy >= other.accuracy - slack


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    found = read_run(arguments.run)[0] if arguments.run else read(arguments.config)
    settings = QUICK if arguments.quick else FINAL
    family = named(found.task.load(), *(((8,), (1, 2)) if arguments.quick else (WIDTHS, DEPTHS)))
    budget = arguments.seconds or (1.0 if arguments.quick else training_seconds(found))
    epochs = {name: epochs_within(budget / len(family), found, network) for name, network in family.items()}
    baselines = judged(found, family, epochs, settings)
    front = read_front(arguments.run, found, settings) if arguments.run else []
    for line in compare(front, baselines, images=len(found.task.load().splits.test)):
        print(json.dumps({"benchmark": "baseline_family", **line, **_facts(line, budget, epochs)}), flush=True)


def named(task: LoadedTask, widths: Sequence[int], depths: Sequence[int]) -> dict[str, Architecture]:
    """The family for a task's images, by name."""
    return {f"width{width}_depth{depth}": baseline(task, width, depth) for width, depth in product(widths, depths)}


def baseline(task: LoadedTask, width: int, depth: int) -> Architecture:
    """A member: a stem, stages of `depth` basic blocks whose width doubles as the image halves, a classifier."""
    shape, outputs = task.signature()
    stages = [
        tuple(BasicBlock(width=width << stage, stride=2 if stage and not block else 1) for block in range(depth))
        for stage in range(3)
        if stage == 0 or min(shape[1:]) >> stage >= SMALLEST_IMAGE
    ]
    stem = Convolution(width=width, kernel=3, activation="relu")
    return Architecture(shape, (stem, *stages, Classifier(classes=outputs)))


def trainee(task: LoadedTask, space: SearchSpace) -> Trainee:
    """Freshly initialized weights for a space; for that of one architecture they are its own alone."""
    torch.manual_seed(0)
    placements = Placements(space)
    return Trainee(Supernet(placements), placements, task)


def alone(task: LoadedTask, network: Architecture) -> Trainee:
    """A trainee of one architecture."""
    return trainee(task, SearchSpace(network.input_shape, network.layers))


def schedule(training: Training, epochs: int) -> Sandwich:
    """The run's own optimizer for so many epochs, for one architecture."""
    kept = {name: getattr(training, name) for name in Training.model_fields}
    return Sandwich(**{**kept, "epochs": epochs}, random=0)


def epoch_seconds(found: Experiment, training: Training, subject: Trainee) -> float:
    """Processor seconds of one epoch."""
    fit = Fit(training.model_copy(update={"epochs": 1}), subject, found.seed)
    return seconds(lambda: fit.run(progress(), "time an epoch"))


def training_seconds(found: Experiment) -> float:
    """Processor seconds that the run's training of shared weights takes on this machine."""
    task = found.task.load()
    shared = trainee(task, SearchSpace.of(found.space, Signature(*task.signature())))
    return epoch_seconds(found, found.training, shared) * found.training.epochs


def epochs_within(budget: float, found: Experiment, network: Architecture) -> int:
    """How many epochs of an architecture alone fit into so many seconds, at least one."""
    subject = alone(found.task.load(), network)
    return max(1, int(budget / epoch_seconds(found, schedule(found.training, 1), subject)))


def judged(
    found: Experiment, family: dict[str, Architecture], epochs: dict[str, int], settings: TimingSettings
) -> list[Model]:
    """The family trained, judged on the test images, and measured."""
    task = found.task.load()
    jobs: list[Workload] = []
    accuracies: list[float] = []
    for name, network in family.items():
        subject = alone(task, network)
        Fit(schedule(found.training, epochs[name]), subject, found.seed).run(progress(), f"train {name}")
        subnet = subject.supernet.subnet(network)
        subnet.recalibrate([inputs for inputs, _ in task.calibration()])
        accuracies.append(1 - error(subnet, task, "test"))
        jobs.append(Workload(network, subnet.state()))
    measured = found.hardware.measure(jobs, settings)
    latencies = (measurement.milliseconds for measurement in measured)
    return [Model(*facts) for facts in zip(family, accuracies, latencies, strict=True)]


def read_front(run: Path, found: Experiment, settings: TimingSettings) -> list[Model]:
    """The run's exported models: accuracy as deployed; latency measured now if the files are there, else as then."""
    models = []
    for entry in json.loads((run / "front.json").read_text(encoding="utf-8")):
        exported = run / "exports" / entry["id"]
        now = found.hardware.measure_export(exported, settings).latency_ms if exported.is_dir() else None
        latency_ms = now or entry["latency_ms"]
        if latency_ms is not None and entry["accuracy_deployed"] is not None:
            models.append(Model(entry["id"], entry["accuracy_deployed"], latency_ms))
    return models


def compare(front: Sequence[Model], baselines: Sequence[Model], images: int) -> Iterator[dict[str, Any]]:
    """A line for each baseline, with the most accurate model of the front that matches it, and the summary.

    Args:
        front: of the run.
        baselines: the family.
        images: how many the accuracies are counted on.
    """
    lines = [_line(front, item, math.sqrt(item.accuracy * (1 - item.accuracy) / images)) for item in baselines]
    yield from lines
    counts = {verdict: sum(bool(line[verdict]) for line in lines) for verdict in ("matched", "within_error")}
    beaten = sum(any(item.matches(model) for item in baselines) for model in front)
    yield {"baselines": len(baselines), **counts, "front": len(front), "front_matched": beaten}


def _line(front: Sequence[Model], item: Model, standard_error: float) -> dict[str, Any]:
    """What the front has against one baseline."""
    matching = [model for model in front if model.matches(item)]
    best = max(matching, key=lambda model: (model.accuracy, -model.latency_ms), default=None)
    within = any(model.matches(item, standard_error) for model in front)
    by = {"by": best.name, "by_accuracy": best.accuracy, "by_latency_ms": best.latency_ms} if best else {}
    verdicts = (
        {"matched": best is not None, "within_error": within} if front else {"matched": None, "within_error": None}
    )
    facts = {"accuracy": item.accuracy, "standard_error": standard_error, "latency_ms": item.latency_ms}
    return {"baseline": item.name, **facts, **verdicts, **by}


def _facts(line: dict[str, Any], budget: float, epochs: dict[str, int]) -> dict[str, Any]:
    """The epochs of a baseline's line, the whole training time of the summary's."""
    return {"epochs": epochs[line["baseline"]]} if "baseline" in line else {"seconds": budget}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two members and a second of training: shows that it runs")
    parser.add_argument("--run", type=Path, help="folder of a finished run; without it the family alone is judged")
    parser.add_argument("--config", type=Path, default=DIGITS, help="the experiment, where no run is given")
    parser.add_argument("--seconds", type=float, help="training time of the whole family together")
    return parser.parse_args()


if __name__ == "__main__":
    main()
