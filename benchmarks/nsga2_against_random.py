"""NSGA-II against random search: the hypervolume of (error, latency) after the same number of evaluations.

The latency is that of the analytic `roofline` backend, the error that of really trained shared weights on the
validation images (with --quick, a smooth function of the decisions). Prints one JSON line for each seed and a summary:

    {"benchmark": "nsga2_against_random", "wins": 9, "seeds": 10, "median_nsga2": 0.95, "median_random": 0.91, ...}
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from hardware.profile import profile
from hardware.store import LatencyStore
from nas import pareto
from nas.archive import Archive, Trial
from nas.config import Experiment, read
from nas.evaluator import CostTables, Evaluator
from nas.problem import Floats, Problem
from nas.progress import progress
from nas.strategies._role import Strategy
from nas.strategies.nsga2 import Nsga2
from nas.strategies.random import Random
from nas.training._fit import Fit
from nas.training._role import Trainee
from predictors._role import Examples
from predictors.encodings.space import SpaceEncoding
from predictors.latency_table import LatencyTable
from searchspaces.networks._role import Signature
from searchspaces.placements import Placements
from searchspaces.space import Genes, SearchSpace
from searchspaces.supernet import Supernet

DIGITS = Path(__file__).parent.parent / "examples" / "digits.yaml"
OBJECTIVES = ("error", "latency_ms")
BEYOND = 1.1
"""The reference of the hypervolume is the worst of the best front, times this."""

Error = Callable[[Genes], float]


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    epochs = [f"training.epochs={arguments.epochs}"] if arguments.epochs is not None else []
    experiment = read(arguments.config, ["hardware={kind: roofline}", *epochs])
    problem, placements = tabulated(experiment)
    error = cached(synthetic(problem) if arguments.quick else trained(experiment, problem, placements))
    evaluations, seeds = (60, 2) if arguments.quick else (arguments.evaluations, arguments.seeds)
    strategies = {
        "nsga2": Nsga2(evaluations=evaluations, population=arguments.population),
        "random": Random(evaluations=evaluations),
    }
    found = {
        name: [search(strategy, problem, error, seed) for seed in range(seeds)] for name, strategy in strategies.items()
    }
    for line in compare(found["nsga2"], found["random"]):
        print(json.dumps({"benchmark": "nsga2_against_random", **line, "evaluations": evaluations}), flush=True)


def tabulated(experiment: Experiment) -> tuple[Problem, Placements]:
    """The experiment's space with the objectives of this benchmark, without bounds, and its blocks."""
    space = SearchSpace.of(experiment.space, Signature(*experiment.task.load().signature()))
    placements = Placements(space)
    with LatencyStore(":memory:") as store:
        found = profile(placements.units, space.input_shape, experiment.hardware, store)
    table = LatencyTable().fit(Examples.none(SpaceEncoding(placements, found)))
    costs = CostTables(placements, {"latency_ms": table})
    return Problem(space, dict.fromkeys(OBJECTIVES, "minimize"), {}, costs), placements


def trained(experiment: Experiment, problem: Problem, placements: Placements) -> Error:
    """The validation error under shared weights, trained here as the experiment says."""
    torch.manual_seed(experiment.seed)
    task = experiment.task.load()
    trainee = Trainee(Supernet(placements), placements, task)
    Fit(experiment.training, trainee, experiment.seed).run(progress())
    return Evaluator(trainee.supernet, task, placements.space).error


def synthetic(problem: Problem) -> Error:
    """A smooth error: it falls with the logarithm of the MACs, and each option adds a little of its own."""
    rng = np.random.default_rng(0)
    own = [rng.uniform(0, 0.1, len(decision.options)) for decision in problem.space.decisions]

    def error(row: Genes) -> float:
        macs = float(problem.costs(row[None])["macs"][0])
        return float(1 / np.log10(10 + macs) + np.mean([table[gene] for table, gene in zip(own, row, strict=True)]))

    return error


def cached(error: Error) -> Error:
    """The same error, computed once for each architecture."""
    known: dict[bytes, float] = {}

    def look_up(row: Genes) -> float:
        key = row.tobytes()
        if key not in known:
            known[key] = error(row)
        return known[key]

    return look_up


def search(strategy: Strategy, problem: Problem, error: Error, seed: int) -> Floats:
    """The objectives [evaluations, 2] of what a strategy evaluates from a seed."""
    with Archive.memory() as archive:
        while len(archive) < strategy.evaluations:
            rows = strategy.ask(problem, archive, seed)
            for row in rows[: strategy.evaluations - len(archive)]:
                archive.add(_trial(len(archive), row, problem, error))
            if not len(rows):
                break
        return archive.values(OBJECTIVES)


def compare(first: list[Floats], second: list[Floats]) -> list[dict[str, Any]]:
    """A line for each seed and the summary.

    Hypervolumes are shares of that of the best front known, which all evaluations together make.

    Args:
        first: objectives [n, 2] that NSGA-II found, for each seed.
        second: those that random search found.
    """
    best = np.concatenate([*first, *second])
    best = best[pareto.front_mask(best)]
    reference = best.max(axis=0) * BEYOND
    whole = pareto.hypervolume(best, reference)
    ours, theirs = ([pareto.hypervolume(found, reference) / whole for found in runs] for runs in (first, second))
    lines = [{"seed": seed, "nsga2": a, "random": b} for seed, (a, b) in enumerate(zip(ours, theirs, strict=True))]
    wins = sum(a > b for a, b in zip(ours, theirs, strict=True))
    summary = {"wins": wins, "seeds": len(ours), "median_nsga2": median(ours), "median_random": median(theirs)}
    return [*lines, {**summary, "front": len(best)}]


def _trial(number: int, row: Genes, problem: Problem, error: Error) -> Trial:
    """One evaluated row; its description does not matter here."""
    values = {"error": error(row), "latency_ms": float(problem.costs(row[None])["latency_ms"][0])}
    return Trial(number, row.tobytes().hex(), tuple(map(int, row)), {}, values)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a made-up error and few evaluations: shows that it runs")
    parser.add_argument("--config", type=Path, default=DIGITS, help="the experiment")
    parser.add_argument("--epochs", type=int, help="epochs of the shared weights; the experiment's if not given")
    parser.add_argument("--evaluations", type=int, default=200, help="of each search")
    parser.add_argument("--population", type=int, default=20, help="of NSGA-II")
    parser.add_argument("--seeds", type=int, default=10, help="searches of each kind")
    return parser.parse_args()


if __name__ == "__main__":
    main()
