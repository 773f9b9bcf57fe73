"""How well a profile repeats: the same blocks measured twice, the second time also while another core is loaded.

Prints one JSON line for each pair of profiles:

    {"benchmark": "profile_repeatability", "load": false, "within_3": 0.97, "median_difference": 0.006, ...}

`within_3` is the share of blocks whose medians agree within 3 %; `noise` is the median interquartile range over the
median within one measurement: what the machine itself allows.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from hardware.backends._role import Backend, Workload
from hardware.measurement import Measurement
from hardware.subjects import Subject, wanted
from hardware.timing import TimingSettings
from nas.config import read
from searchspaces.networks._role import Signature
from searchspaces.placements import Placements
from searchspaces.space import SearchSpace

DIGITS = Path(__file__).parent.parent / "examples" / "digits.yaml"


def main() -> None:
    arguments = _arguments()
    experiment = read(
        arguments.config, [*arguments.set, *(["hardware={kind: torch_eager}"] if arguments.quick else [])]
    )
    space = SearchSpace.of(experiment.space, Signature(*experiment.task.load().signature()))
    subjects = wanted(experiment.hardware, Placements(space).units, space.input_shape)
    chosen = sorted(subjects, key=lambda subject: subject.text)[: 3 if arguments.quick else arguments.blocks]
    first = measured(experiment.hardware, chosen)
    for load in (False, True):
        with loaded() if load else nullcontext():
            again = measured(experiment.hardware, chosen)
        print(json.dumps({"benchmark": "profile_repeatability", "load": load, **compared(first, again)}), flush=True)


def measured(backend: Backend, subjects: list[Subject]) -> list[Measurement]:
    """One profile of the blocks."""
    return backend.measure([Workload(subject.architecture) for subject in subjects], TimingSettings())


@contextmanager
def loaded() -> Iterator[None]:
    """Another process computes all the while."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def compared(first: list[Measurement], second: list[Measurement]) -> dict[str, Any]:
    """How far the medians of two profiles are apart."""
    pairs = [(a.milliseconds, b.milliseconds) for a, b in zip(first, second, strict=True) if a.ok and b.ok]
    differences = np.abs(np.array([b / a - 1 for a, b in pairs]))
    noises = [found.noise for found in (*first, *second) if found.noise is not None]
    disturbed = [found.disturbed / max(found.disturbed + found.samples, 1) for found in second]
    return {
        "blocks": len(pairs),
        "within_3": float(np.mean(differences <= 0.03)),
        "within_5": float(np.mean(differences <= 0.05)),
        "median_difference": float(np.median(differences)),
        "worst_difference": float(differences.max()),
        "noise": float(np.median(noises)),
        "disturbed": float(np.mean(disturbed)),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="three blocks: shows that it runs")
    parser.add_argument("--config", type=Path, default=DIGITS, help="the experiment")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=c", help="replace a value of the experiment")
    parser.add_argument("--blocks", type=int, help="measure the first ones only")
    return parser.parse_args()


if __name__ == "__main__":
    main()
