"""The front as `front.json` holds it: believed, exported, measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

from searchspaces.architecture import Architecture


@dataclass(frozen=True)
class Model:
    """One exported architecture.

    Attributes:
        id: the architecture's name, and its folder under `exports/`.
        description: the architecture as plain data.
        believed: values by name, as the search believed them.
        accuracy: share of correct answers on test data, of the deployed file; None where no file is deployed.
        accuracy_float32: the same of the float32 network.
        deployed: name of the file that the backend runs.
        latency_ms: measured median of the deployed file, with its percentiles and noise; None where it failed.
        failure: why the latency is not known.
        samples: blocks of runs behind the latency; 0 where it was computed from a model of the hardware.
        gain: `float32_ms`, `int8_ms` and `speedup` of the two files measured in turns, where both are there.
        sizes: bytes of each file.
        left_out: why formats are missing, by file.
        device: the machine that measured.
    """

    id: str
    description: dict[str, Any]
    believed: Mapping[str, float]
    accuracy: float | None = None
    accuracy_float32: float | None = None
    deployed: str | None = None
    latency_ms: float | None = None
    latency_ms_p10: float | None = None
    latency_ms_p90: float | None = None
    noise: float | None = None
    failure: str = ""
    samples: int = 0
    gain: Mapping[str, float] | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    device: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def architecture(self) -> Architecture:
        """The architecture itself."""
        return Architecture.parse(self.description)

    @property
    def int8_speedup(self) -> float | None:
        """How many times faster the int8 file is than the float32 one; None where they were not compared."""
        return self.gain["speedup"] if self.gain else None

    @property
    def latency_error(self) -> float | None:
        """Believed over measured latency, less 1."""
        believed = self.believed.get("latency_ms")
        return None if believed is None or not self.latency_ms else believed / self.latency_ms - 1

    def measured(self, name: str) -> float | None:
        """An objective's value as measured on the exported file; as believed where no measurement can differ."""
        if name == "error":
            return None if self.accuracy is None else 1 - self.accuracy
        if name == "latency_ms":
            return self.latency_ms
        if name == "model_bytes" and self.deployed is not None:
            return self.sizes[self.deployed]
        return self.believed.get(name)


def read_front(path: Path) -> list[Model]:
    """The models of `front.json` in its order; none if the run has not come to that yet."""
    if not path.is_file():
        return []
    return [model(entry) for entry in json.loads(path.read_text(encoding="utf-8"))]


def model(entry: Mapping[str, Any]) -> Model:
    """A model from its entry, which is what the export of an architecture returns."""
    plain = ("deployed", "latency_ms", "latency_ms_p10", "latency_ms_p90", "noise", "samples")
    failed = entry["latency_state"] != "ok"
    return Model(
        id=entry["id"],
        description=entry["architecture"],
        believed=entry["values"],
        accuracy=entry["accuracy_deployed"],
        accuracy_float32=entry["accuracy_float32"],
        failure=f"{entry['latency_state']}: {entry['latency_reason']}" if failed else "",
        gain=entry["integer_gain"],
        sizes=entry["bytes"],
        left_out={file: f"{why['state']}: {why['reason']}" for file, why in entry["left_out"].items()},
        device=entry["device"],
        **{name: entry[name] for name in plain},
    )


def median_latency_error(models: Sequence[Model]) -> float | None:
    """The median over models of |believed / measured - 1|; None without a measurement."""
    errors = [abs(model.latency_error) for model in models if model.latency_error is not None]
    return median(errors) if errors else None
