"""How many candidates a second the search's population arithmetic handles, on one core.

Sampling, mutation, crossover, looking up blocks, and all costs of a population as one integer matrix. Prints one JSON
line for each:

    {"benchmark": "population_speed", "operation": "mutate", "rows": 100000, "rows_per_second": 2.1e6, ...}
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from _timing import Action, seconds

from hardware.profile import profile
from hardware.store import LatencyStore
from nas.config import Experiment, read
from nas.evaluator import CostTables
from predictors._role import Examples
from predictors.encodings.space import SpaceEncoding
from predictors.latency_table import LatencyTable
from searchspaces.networks._role import Signature
from searchspaces.placements import Placements
from searchspaces.space import SearchSpace

DIGITS = Path(__file__).parent.parent / "examples" / "digits.yaml"


def main() -> None:
    arguments = _arguments()
    experiment = read(arguments.config, ["hardware={kind: roofline}"])
    rows = 2_000 if arguments.quick else arguments.rows
    for line in measure(experiment, rows, repeats=1 if arguments.quick else 5):
        print(json.dumps({"benchmark": "population_speed", "space": arguments.config.stem, **line}), flush=True)


def measure(experiment: Experiment, rows: int, repeats: int) -> Iterator[dict[str, Any]]:
    """One line for each operation.

    Args:
        experiment: whose space it is.
        rows: candidates in the population.
        repeats: runs of each operation; the fastest counts.
    """
    space = SearchSpace.of(experiment.space, Signature(*experiment.task.load().signature()))
    for name, action in operations(space, experiment, rows).items():
        action()
        fastest = min(seconds(action) for _ in range(repeats))
        facts = {"rows": rows, "decisions": len(space.decisions)}
        yield {"operation": name, **facts, "milliseconds": fastest * 1e3, "rows_per_second": rows / fastest}


def operations(space: SearchSpace, experiment: Experiment, rows: int) -> dict[str, Action]:
    """What a search does with whole populations, by name."""
    rng = np.random.default_rng(0)
    first, second = space.sample(rng, rows), space.sample(rng, rows)
    placements = Placements(space)
    with LatencyStore(":memory:") as store:
        found = profile(placements.units, space.input_shape, experiment.hardware, store)
    table = LatencyTable().fit(Examples.none(SpaceEncoding(placements, found)))
    costs = CostTables(placements, {"latency_ms": table})
    return {
        "sample": lambda: space.sample(rng, rows),
        "mutate": lambda: space.mutate(first, rng, 1 / len(space.decisions)),
        "crossover": lambda: space.crossover(first, second, rng),
        "placements": lambda: placements.of(first),
        "costs": lambda: costs(first),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a small population: shows that it runs")
    parser.add_argument("--config", type=Path, default=DIGITS, help="the experiment whose space is used")
    parser.add_argument("--rows", type=int, default=100_000, help="candidates in the population")
    return parser.parse_args()


if __name__ == "__main__":
    main()
