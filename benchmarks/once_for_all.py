"""Once for all: one training, then several hardware budgets served without another.

Trains the shared weights of `examples/once_for_all.yaml` on digits and at their resolutions, so that it takes minutes,
searches once under the analytic `roofline` latency, and takes for each budget the architecture of least validation
error within it. Each is set against the same architecture trained alone from scratch for as many steps; accuracies are
on the test images. Kendall's tau is between the validation errors of random architectures under shared weights and
after training alone for half as many. Prints a JSON line for each budget and a summary:

    {"benchmark": "once_for_all", "budgets": 3, "worst_points": -0.4, "tau": 0.7, "train_seconds": 130.0, ...}

where `points` is the accuracy under shared weights less that of training alone, in percent.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _timing import seconds

from nas.archive import Trial
from nas.config import read
from nas.evaluator import error
from nas.executors._pool import reproducible
from nas.progress import progress
from nas.quality import error_alone, measure_quality, read_quality
from nas.run import Run

ONCE_FOR_ALL = Path(__file__).parent.parent / "examples" / "once_for_all.yaml"
BUDGETS = (0.25, 0.5, 0.75)
"""Quantiles of the latency of what was searched."""
SETTINGS = [
    "hardware={kind: roofline}",
    "constraints={}",
    "objectives={error: minimize, latency_ms: minimize}",
    "task.data={kind: digits, validation: 0.2}",
    "space.resolution={choice: [4, 6, 8]}",
    "training.epochs=30",
    "training.batch_size=64",
    "strategy.evaluations=100",
]
QUICK = [
    "training.epochs=5",
    "training.batch_size=512",
    "strategy={kind: random, evaluations: 12}",
]


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    chosen = QUICK if arguments.quick else []
    compared, epochs = (3, 1) if arguments.quick else (arguments.architectures, 15)
    quality = f"quality={{architectures: {compared}, epochs: {epochs}}}"
    with tempfile.TemporaryDirectory() as folder:
        run = Run(read(arguments.config, [*SETTINGS, *chosen, quality, *arguments.set]), Path(folder), progress())
        for line in lines(run):
            print(json.dumps({"benchmark": "once_for_all", **line}), flush=True)


def lines(run: Run) -> Iterator[dict[str, Any]]:
    """A line for each budget, and the summary."""
    taken = seconds(run.train)
    run.search()
    served = []
    for latency_ms, trial in within_budgets(run):
        served.append({"budget_ms": latency_ms, **judged(run, trial)})
        yield served[-1]
    measure_quality(run)
    run.pool.close()
    ranking = read_quality(run.folder)
    yield {
        "budgets": len(served),
        "worst_points": min(line["points"] for line in served),
        "tau": ranking.kendall_tau if ranking else None,
        "architectures": len(ranking.compared) if ranking else 0,
        "epochs": run.experiment.training.epochs,
        "training": run.experiment.training.kind(),
        "train_seconds": taken,
    }


def within_budgets(run: Run) -> list[tuple[float, Trial]]:
    """The budgets in ms, and for each the trial of least error within it."""
    with run.open_archive() as archive:
        trials = archive.trials()
    latencies = [trial.values["latency_ms"] for trial in trials]
    budgets = [float(budget) for budget in np.quantile(latencies, BUDGETS)]
    fitting = [[trial for trial in trials if trial.values["latency_ms"] <= budget] for budget in budgets]
    return [
        (budget, min(found, key=lambda trial: (trial.values["error"], trial.values["latency_ms"])))
        for budget, found in zip(budgets, fitting, strict=True)
    ]


def judged(run: Run, trial: Trial) -> dict[str, Any]:
    """Test accuracies of an architecture under shared weights and after training alone."""
    architecture = run.space.decode(np.array(trial.genes))
    network = run.trainee.supernet.subnet(architecture)
    network.recalibrate([inputs for inputs, _ in run.task.calibration()])
    shared = 1 - error(network, run.task, "test")
    with reproducible(run.experiment.seed):
        epochs = run.experiment.training.epochs
        alone = 1 - error_alone(run.context, architecture, epochs, lambda words: None, "test")
    facts = {"architecture": trial.architecture_id, "latency_ms": trial.values["latency_ms"]}
    return {**facts, "shared": shared, "alone": alone, "points": 100 * (shared - alone)}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="digits and five epochs: shows that it runs")
    parser.add_argument("--config", type=Path, default=ONCE_FOR_ALL, help="the experiment")
    parser.add_argument("--architectures", type=int, default=20, help="random ones that are compared for tau")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=VALUE", help="overrides of the experiment")
    return parser.parse_args()


if __name__ == "__main__":
    main()
