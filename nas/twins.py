"""The int8 twins of float32 models: what integers would cost where the search did not choose them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardware.backends._role import Workload
from hardware.timing import FINAL, TimingSettings
from nas.files import write_atomic
from nas.profiling import Advance
from searchspaces.architecture import Architecture
from searchspaces.blocks._role import Block
from searchspaces.graph import Edge, Graph
from searchspaces.quantization.integer import Integer

if TYPE_CHECKING:
    from nas.run import Run

FILE = "int8_twins.json"


def integer_twin(architecture: Architecture) -> Architecture:
    """The architecture with every block in eight bits."""
    return Architecture(architecture.input_shape, _quantized(architecture.layers))


def _quantized(layers: Any) -> Any:
    """The same nested tuples, graphs and edges with integer blocks."""
    if isinstance(layers, tuple):
        return tuple(map(_quantized, layers))
    if isinstance(layers, Graph | Edge):
        return layers.model_copy(update={name: _quantized(value) for name, value in layers.items()})
    return layers.model_copy(update={"quantization": Integer()}) if isinstance(layers, Block) else layers


def measure_twins(
    run: Run, front: Sequence[dict[str, Any]], settings: TimingSettings = FINAL
) -> list[dict[str, float | str]]:
    """Latencies of the fastest and the slowest float32 model and of their twins, kept in `int8_twins.json`.

    Empty where the space has no integer policies, or the backend does not deploy them. What matters is how a network
    compares with its twin beside it, so nothing is repeated because the machine is not as it was at other times.
    """
    backend = run.experiment.hardware
    asked = any(unit.part.quantization.integer for unit in run.placements.units)
    floats = [entry for entry in front if entry["integer_gain"] is None and entry["latency_ms"] is not None]
    if not (asked and backend.supports_integer and floats):
        return []
    if (run.folder / FILE).exists():
        return read_twins(run.folder)
    ordered = sorted(floats, key=lambda entry: entry["latency_ms"])
    ends = {entry["id"]: entry for entry in (ordered[0], ordered[-1])}
    pairs = [(a, integer_twin(a)) for a in (Architecture.parse(entry["architecture"]) for entry in ends.values())]
    jobs = [Workload(network) for pair in pairs for network in pair]
    with run.progress.phase("int8 twins", total=len(jobs)) as phase:
        measured = backend.measure(jobs, replace(settings, repeats=0), Advance(phase, len(jobs)))
    found: list[dict[str, float | str]] = [
        {"id": name, "float32_ms": plain.milliseconds, "int8_ms": integer.milliseconds}
        for name, plain, integer in zip(ends, measured[::2], measured[1::2], strict=True)
        if plain.ok and integer.ok
    ]
    write_atomic(run.folder / FILE, json.dumps(found, indent=1))
    return found


def read_twins(folder: Path) -> list[dict[str, float | str]]:
    """What `measure_twins` kept in a run's folder; nothing where it did not."""
    path = folder / FILE
    found: list[dict[str, float | str]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    return found
