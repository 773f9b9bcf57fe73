"""How many candidates a second a search on predictors evaluates, on one core.

A population as one matrix, its error by ridge regression with deviations and its latency by a table of blocks; the same
with breeding; and beside it a loop of the published form (the finder of Once-for-All, arXiv:1908.09791): one candidate
after the other, a dictionary of decisions, a vector of features, a perceptron of three layers for the error, and a
table of blocks for the latency. Prints one JSON line for each, the last with the ratio of the first to the last:

    {"benchmark": "candidates_per_second", "way": "population", "candidates_per_second": 1.4e6, ...}
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from _timing import seconds
from torch import nn

from hardware.profile import profile
from hardware.store import LatencyStore
from nas.archive import Trial
from nas.config import Experiment, read
from nas.problem import Genes, Problem
from nas.strategies._breeding import Breeding
from nas.strategies._outlook import Outlook
from predictors._role import Examples
from predictors.encodings.space import SpaceEncoding
from predictors.latency_table import LatencyTable, LatencyTableModel
from predictors.ridge import Ridge
from searchspaces.networks._role import Signature
from searchspaces.placements import Placements
from searchspaces.space import SearchSpace

CONFIG = Path(__file__).parent.parent / "examples" / "once_for_all.yaml"
EVALUATED = 300
"""Architectures that the predictors are fitted to."""
HIDDEN = 400
"""Width of the published finder's perceptron."""


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    rows, alone, repeats = (2_000, 20, 1) if arguments.quick else (arguments.rows, 2_000, 5)
    problem, table = prepared(read(arguments.config, ["hardware={kind: roofline}"]))
    outlook = fitted(problem)
    rng = np.random.default_rng(1)
    population = problem.space.sample(rng, rows)
    ways: dict[str, tuple[Callable[[], object], int]] = {
        "population": (lambda: outlook(population), rows),
        "population, bred": (lambda: outlook(bred(problem, population, rng)), rows),
        "one by one": (one_by_one(table, population[:alone]), alone),
    }
    rates = {name: max(n / seconds(action) for _ in range(repeats)) for name, (action, n) in ways.items()}
    for name, rate in rates.items():
        line = {"benchmark": "candidates_per_second", "space": arguments.config.stem, "way": name}
        facts = {"candidates_per_second": rate, "decisions": len(problem.space.decisions), "rows": ways[name][1]}
        print(json.dumps({**line, **facts, "of_one_by_one": rate / rates["one by one"]}), flush=True)


def prepared(experiment: Experiment) -> tuple[Problem, LatencyTableModel]:
    """The experiment's space with error and latency, the latency as a known cost."""
    space = SearchSpace.of(experiment.space, Signature(*experiment.task.load().signature()))
    placements = Placements(space)
    with LatencyStore(":memory:") as store:
        found = profile(placements.units, space.input_shape, experiment.hardware, store)
    encoding = SpaceEncoding(placements, found)
    table = LatencyTable().fit(Examples.none(encoding))
    objectives = {"error": "minimize", "latency_ms": "minimize"}
    costs = lambda matrix: {"latency_ms": table.predict(matrix).mean}  # noqa: E731
    return Problem(space, objectives, {}, costs, encoding), table  # type: ignore[arg-type]


def fitted(problem: Problem) -> Outlook:
    """What ridge regression learns of a made-up error."""
    rng = np.random.default_rng(0)
    own = [rng.uniform(0, 0.1, size) for size in problem.space.sizes]
    trials = []
    for number, row in enumerate(np.unique(problem.space.sample(rng, EVALUATED), axis=0)):
        values = {"error": 0.1 + float(np.mean([part[gene] for part, gene in zip(own, row, strict=True)]))}
        values["latency_ms"] = float(problem.costs(row[None])["latency_ms"][0])
        trials.append(Trial(number, str(number), tuple(map(int, row)), {}, values))
    found = Outlook.of(problem, trials, Ridge(), 0)
    assert found is not None
    return found


def bred(problem: Problem, parents: Genes, rng: np.random.Generator) -> Genes:
    """One child of each row and another."""
    return Breeding(problem, rng).cross(parents, rng.permutation(parents))


def one_by_one(table: LatencyTableModel, rows: Genes) -> Callable[[], object]:
    """The published form of the loop over these rows."""
    encoding = table.encoding
    space: SearchSpace = encoding.placements.space  # type: ignore[attr-defined]
    starts = np.cumsum(space.sizes) - space.sizes
    features = int(space.sizes.sum())
    layers = [nn.Linear(features, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU()]
    predictor = nn.Sequential(*layers, nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1)).eval()
    blocks = dict(enumerate(table.values.tolist()))
    candidates = [
        {"decisions": dict(enumerate(row)), "blocks": [unit for unit in units if unit >= 0]}
        for row, units in zip(rows.tolist(), encoding.tokens(rows).tolist(), strict=True)
    ]

    def evaluate(candidate: dict[str, dict[int, int] | list[int]]) -> tuple[float, float]:
        vector = np.zeros(features, dtype=np.float32)
        for decision, option in candidate["decisions"].items():  # type: ignore[union-attr]
            vector[starts[decision] + option] = 1.0
        with torch.no_grad():
            error = predictor(torch.from_numpy(vector)[None]).item()
        return error, table.overhead + sum(blocks[unit] for unit in candidate["blocks"])

    return lambda: [evaluate(candidate) for candidate in candidates]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a small population: shows that it runs")
    parser.add_argument("--config", type=Path, default=CONFIG, help="the experiment whose space is used")
    parser.add_argument("--rows", type=int, default=100_000, help="candidates in the population")
    return parser.parse_args()


if __name__ == "__main__":
    main()
