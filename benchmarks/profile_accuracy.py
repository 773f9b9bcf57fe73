"""How well the sum over measured blocks tells the latency of whole networks.

Random networks of an experiment's space are believed (overhead and contributions of their blocks, from chains) and
measured (as one program) on the experiment's backend. Prints one JSON line for each network and a summary:

    {"benchmark": "profile_accuracy", "networks": 20, "median_relative_error": 0.06, "rank_correlation": 0.93, ...}
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from hardware.backends._role import Backend, Workload
from hardware.profile import Profile, profile
from hardware.store import LatencyStore
from hardware.timing import TimingSettings
from nas.config import Experiment, read
from nas.folders import latency_table
from searchspaces.architecture import Architecture
from searchspaces.networks._role import Signature
from searchspaces.space import SearchSpace

DIGITS = Path(__file__).parent.parent / "examples" / "digits.yaml"
WHOLE = TimingSettings(block_ms=1.0, warmup_ms=100.0, visits=6, visit_ms=30.0)
"""More time for each network than a block gets: it is the truth here."""


def main() -> None:
    arguments = _arguments()
    experiment = read(arguments.config, arguments.set)
    networks = drawn(experiment, 2 if arguments.quick else arguments.networks, arguments.seed)
    believed = known(experiment.hardware, networks, ":memory:" if arguments.quick else latency_table())
    for line in compare(believed, networks):
        print(json.dumps({"benchmark": "profile_accuracy", "space": arguments.config.stem, **line}), flush=True)


def drawn(experiment: Experiment, count: int, seed: int) -> list[Architecture]:
    """Architectures drawn uniformly from the experiment's space."""
    space = SearchSpace.of(experiment.space, Signature(*experiment.task.load().signature()))
    return [space.decode(row) for row in space.sample(np.random.default_rng(seed), count)]


def known(backend: Backend, networks: list[Architecture], table: Path | str) -> Profile:
    """The profile of the blocks of these networks, measured where the table lacks them."""
    blocks = [placement for network in networks for placement in network.blocks()]
    with LatencyStore(table) as store:
        return profile(blocks, networks[0].input_shape, backend, store)


def compare(believed: Profile, networks: list[Architecture]) -> Iterator[dict[str, Any]]:
    """A line for each network and the summary. `relative_error` is believed over measured, less 1."""
    measured = believed.backend.measure([Workload(network) for network in networks], WHOLE)
    pairs = np.array(
        [(believed.predict_ms(network), found.milliseconds) for network, found in zip(networks, measured, strict=True)]
    )
    errors = pairs[:, 0] / pairs[:, 1] - 1
    for network, found, (ours, truth), error in zip(networks, measured, pairs, errors, strict=True):
        facts = {"architecture": network.id, "believed_ms": ours, "measured_ms": truth, "noise": found.noise}
        yield {**facts, "relative_error": error}
    yield {
        "networks": len(networks),
        "backend": believed.backend.kind(),
        "median_relative_error": float(np.median(np.abs(errors))),
        "median_bias": float(np.median(errors)),
        "worst_relative_error": float(np.abs(errors).max()),
        "rank_correlation": float(kendalltau(*pairs.T).statistic),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two networks and a table of its own")
    parser.add_argument("--config", type=Path, default=DIGITS, help="the experiment")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=c", help="replace a value of the experiment")
    parser.add_argument("--networks", type=int, default=20, help="how many are measured")
    parser.add_argument("--seed", type=int, default=0, help="draws the networks")
    return parser.parse_args()


if __name__ == "__main__":
    main()
