"""Every operator beside attention and a depthwise 7x7 convolution on one runtime, and beside its naive twin.

A latency is the difference between chains of three and of one operator over two, so that the runtime's conversions of
input and output cancel. `of_twin` is the time of a training step, forward and backward in eager torch, over that of
the naive twin which the tests compare the operator with; null where it is its definition written out and has none.
Prints one JSON line for each operator:

    {"benchmark": "operators", "role": "mixers", "kind": "pooling", "latency_ms": 0.011, "of_attention": 0.03, ...}

`--write` keeps the facts and latencies in nas/operators.json and renders docs/operators.md from them.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from _timing import compare
from bare_operator import BareOperator

from hardware.backends._role import Backend, Workload
from hardware.backends.onnxruntime import OnnxRuntime
from hardware.device import Device
from hardware.timing import TimingSettings
from nas import catalogue, operators
from searchspaces.architecture import Architecture
from searchspaces.facts import CHANNELS, SIDE, shape_of
from searchspaces.mixers.depthwise import Depthwise

ROOT = Path(__file__).parent.parent
SETTINGS = TimingSettings(visits=6, visit_ms=30.0)
QUICK = TimingSettings(visits=4, visit_ms=3.0, rounds=1, repeats=0)
LONG, SHORT = 3, 1
REFERENCE = ("mixers", "depthwise 7x7")
TWIN_CHANNELS, TWIN_SIDE, TWIN_ROUNDS = 8, 4, 3


def main() -> None:
    arguments = _arguments()
    parts = every_operator()
    if arguments.quick:
        parts = {key: part for key, part in parts.items() if key[1] in ("attention", "pooling", REFERENCE[1])}
    found = latencies(OnnxRuntime(), parts, QUICK if arguments.quick else SETTINGS)
    twins = over_twins(parts, rounds=1 if arguments.quick else TWIN_ROUNDS)
    for line in lines(found, twins):
        print(json.dumps({"benchmark": "operators", **line}), flush=True)
    if arguments.write:
        write(found)


def every_operator() -> dict[tuple[str, str], Any]:
    """Each operator with default settings by role and kind, and the reference."""
    roles = catalogue.roles()
    parts = {(role, kind): part() for role in operators.ROLES for kind, part in catalogue.parts(roles[role])}
    return parts | {REFERENCE: Depthwise(kernel=7)}


def latencies(backend: Backend, parts: dict[tuple[str, str], Any], settings: TimingSettings) -> dict[Any, float | None]:
    """Milliseconds of each operator; None where it cannot be measured."""
    chains = [
        Workload(Architecture(shape_of(part.spatial_ranks), (BareOperator(operator=part),) * length))
        for part in parts.values()
        for length in (LONG, SHORT)
    ]
    found = backend.measure(chains, settings)
    pairs = zip(parts, found[::2], found[1::2], strict=True)
    return {
        key: max(long.milliseconds - short.milliseconds, 0.0) / (LONG - SHORT) if long.ok and short.ok else None
        for key, long, short in pairs
    }


def over_twins(parts: dict[tuple[str, str], Any], rounds: int) -> dict[tuple[str, str], float]:
    """How long a step of each operator takes, over one of its naive twin; operators without a twin are left out."""
    sys.path.insert(0, str(ROOT))
    from tests.searchspaces.twins import TWINS, operators_tests

    operators_tests()
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    found = {key: _over_twin(part, TWINS[type(part)], rounds) for key, part in parts.items() if type(part) in TWINS}
    torch.set_default_dtype(torch.float32)
    return found


def _over_twin(part: Any, twin: Any, rounds: int) -> float:
    """The median over the rounds; both have the same parameters and two samples of a small shape."""
    shape = shape_of(part.spatial_ranks, TWIN_SIDE, TWIN_CHANNELS)
    module, x = twin.prepare(part.build(shape)), torch.randn(2, *shape, requires_grad=True)
    steps = (lambda: module(x).sum().backward(), lambda: twin.compute(part, module, x).sum().backward())
    return compare(*steps, rounds=rounds, least_seconds=0.01).ratio


def lines(found: dict[Any, float | None], twins: dict[tuple[str, str], float]) -> Iterator[dict[str, Any]]:
    """A line for each operator."""
    attention, depthwise = found["mixers", "attention"], found[REFERENCE]
    for (role, kind), value in found.items():
        ratios = {"of_attention": _over(value, attention), "of_depthwise": _over(value, depthwise)}
        yield {"role": role, "kind": kind, "latency_ms": value, **ratios, "of_twin": twins.get((role, kind))}


def write(found: dict[Any, float | None]) -> None:
    """Keeps facts and latencies, and renders the page."""
    rows = operators.computed()
    for (role, kind), value in found.items():
        if (role, kind) != REFERENCE:
            rows[role][kind]["latency_ms"] = None if value is None else float(f"{value:.3g}")
    device = Device.here()
    measured = {
        "shape": f"[{CHANNELS}, {SIDE}, {SIDE}] (sequences [{CHANNELS}, {SIDE * SIDE}])",
        "backend": f"onnxruntime {_version('onnxruntime')}, one thread, float32",
        "device": re.sub(r"\s+", " ", device.describe()["cpu"]),
        "depthwise_7x7_ms": found[REFERENCE],
    }
    data = {"measured": measured, "operators": rows}
    (ROOT / "nas" / operators.FILE).write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    (ROOT / "docs" / "operators.md").write_text(operators.page(data), encoding="utf-8")


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)


def _over(value: float | None, other: float | None) -> float | None:
    return value / other if value is not None and other else None


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="keep facts and latencies, and render the page")
    parser.add_argument("--quick", action="store_true", help="three operators, measured briefly")
    return parser.parse_args()


if __name__ == "__main__":
    main()
