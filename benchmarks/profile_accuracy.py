"""How well the latency of networks is believed that were never measured.

An experiment's blocks and a sample of its networks are profiled under a budget and its predictor is fitted, as a search
does it. Then fresh random networks of the space are measured and compared. Prints one JSON line for each network and a
summary:

    {"benchmark": "profile_accuracy", "networks": 50, "spearman": 0.99, "within_10": 0.98, "profile_seconds": 412, ...}
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from hardware.backends._role import Workload
from hardware.timing import TimingSettings
from nas.config import Experiment, read
from nas.latency_scores import scored
from nas.profiling import Profiler
from nas.progress import progress
from searchspaces.networks._role import Signature
from searchspaces.placements import Placements
from searchspaces.space import Genes, SearchSpace

DIGITS = Path(__file__).parent.parent / "examples" / "digits.yaml"
WHOLE = TimingSettings(block_ms=1.0, warmup_ms=100.0, visits=6, visit_ms=30.0)
"""More time for each network than a block gets: it is the truth here."""


def main() -> None:
    arguments = _arguments()
    quick = ["profile.networks=8", "hardware={kind: roofline}"] if arguments.quick else []
    experiment = read(arguments.config, [f"profile.minutes={arguments.minutes}", *arguments.set, *quick])
    with tempfile.TemporaryDirectory() as folder:
        if not arguments.keep:
            os.environ["NAS_CACHE"] = folder
        for line in compare(experiment, 4 if arguments.quick else arguments.networks, arguments.seed):
            print(json.dumps({"benchmark": "profile_accuracy", "space": arguments.config.stem, **line}), flush=True)


def compare(experiment: Experiment, count: int, seed: int) -> Iterator[dict[str, Any]]:
    """A line for each fresh network and the summary. `relative_error` is believed over measured, less 1."""
    space = SearchSpace.of(experiment.space, Signature(*experiment.task.load().signature()))
    start = time.monotonic()
    profiler = Profiler(
        experiment.hardware, Placements(space), experiment.profile, experiment.predictor, progress(), experiment.seed
    )
    _ = profiler.latency.model
    seconds = time.monotonic() - start
    rows = fresh(profiler, count, seed)
    measured = experiment.hardware.measure([Workload(space.decode(row)) for row in rows], WHOLE)
    believed = profiler.latency.predict(rows)
    for row, found, mean, std in zip(rows, measured, believed.mean, believed.std, strict=True):
        facts = {"architecture": space.decode(row).id, "believed_ms": float(mean), "std_ms": float(std)}
        error = float(mean / found.milliseconds - 1)
        yield {**facts, "measured_ms": found.milliseconds, "noise": found.noise, "relative_error": error}
    units = profiler.placements.units
    yield {
        **asdict(scored(profiler.latency, rows, measured)),
        "backend": experiment.hardware.kind(),
        "predictor": experiment.predictor.kind(),
        "blocks": len(units),
        "blocks_measured": sum(map(profiler.profile.measured, units)),
        "learned_from": len(profiler.latency),
        "profile_seconds": seconds,
    }


def fresh(profiler: Profiler, count: int, seed: int) -> Genes:
    """Random networks that were not learned from."""
    drawn = profiler.placements.space.sample(np.random.default_rng((seed, 1)), 10 * count)
    known = {row.tobytes() for row in profiler.rows}
    return np.array([row for row in drawn if row.tobytes() not in known][:count])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="four networks on the analytic backend")
    parser.add_argument("--config", type=Path, default=DIGITS, help="the experiment")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=c", help="replace a value of the experiment")
    parser.add_argument("--minutes", type=float, default=10.0, help="budget of the profile")
    parser.add_argument("--networks", type=int, default=50, help="how many fresh ones are measured")
    parser.add_argument("--seed", type=int, default=0, help="draws the fresh networks")
    parser.add_argument("--keep", action="store_true", help="use and fill the user's latency table, not an empty one")
    return parser.parse_args()


if __name__ == "__main__":
    main()
