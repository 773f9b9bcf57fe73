"""Measurement: what one program cost on one device, or why it could not be measured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Literal, cast, get_args

from hardware.blocks import Blocks, Timing
from hardware.conditions import Conditions

Failure = Literal["unsupported_operator", "compile_failed", "out_of_memory", "timeout", "crashed"]
State = Literal["ok"] | Failure
EnergySource = Literal["measured", "unavailable"]

_STATES = ("ok", *get_args(Failure))
_KEPT_APART = ("blocks", "window")


class MeasurementError(Exception):
    """A program could not be made or run.

    Attributes:
        state: which kind of failure.
        reason: the runtime's own words.
    """

    def __init__(self, state: Failure, reason: str) -> None:
        super().__init__(f"{state}: {reason}")
        self.state: Failure = state
        self.reason = reason


@dataclass(frozen=True)
class Window:
    """Programs that were measured together, and what the machine did meanwhile.

    Attributes:
        started: date and time in UTC.
        attempt: how often the window was measured before, because a reference network had moved.
        settings: of the timing.
        references_ms: latency of each reference network; None for one that failed.
        moved: the furthest that a reference moved since the window before, as a share; None without such a window.
        drift: the furthest that a reference is from the first window of this process on this backend.
        steady: False for a window that was kept although a reference had moved too far, each time that it was measured.
        energy: the meter, or why there was none.
        conditions: of the machine.
    """

    started: str
    attempt: int = 0
    settings: Mapping[str, float] = field(default_factory=dict, hash=False)
    references_ms: tuple[float | None, ...] = ()
    moved: float | None = None
    drift: float | None = None
    steady: bool = True
    energy: str = ""
    conditions: Conditions = field(default_factory=Conditions)

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Window:
        """The window that `to_json` wrote.

        Raises:
            ValueError: the text is not such a window.
        """
        try:
            data = json.loads(text)
            affinity = tuple(data["conditions"]["affinity"])
            conditions = Conditions(**{**data["conditions"], "affinity": affinity})
            return cls(**{**data, "references_ms": tuple(data["references_ms"]), "conditions": conditions})
        except (TypeError, KeyError) as error:
            raise ValueError(f"not a window: {error}") from error


@dataclass(frozen=True)
class Measurement:
    """The cost of one batch of a program.

    Attributes:
        latency_ms: median wall time of one run; None exactly when `state` is not `ok`.
        latency_ms_p10: tenth percentile over blocks of runs.
        latency_ms_p90: ninetieth percentile over blocks of runs.
        noise: interquartile range over median, without unit.
        samples: blocks of runs behind the statistics.
        disturbed: blocks set aside or suspect, because other load took the processor or slowed it down.
        peak_memory_bytes: greatest memory at once while the program is made and runs once, over what was there before;
            of the GPU where the program runs on one, else of the process. None where the system does not tell.
        model_bytes: size of the deployed model.
        state: `ok`, or the kind of failure.
        reason: the runtime's own words about a failure; notes otherwise.
        latency_ms_p99: ninety-ninth percentile over blocks of runs.
        cpu_ms: median processor time of one run, all threads together.
        energy_mj: what one run draws beyond the idle machine; None where the source is `unavailable`.
        energy_source: `measured` by a meter, or `unavailable`.
        blocks: every block; not in the JSON.
        window: what it was measured with; not in the JSON.
    """

    latency_ms: float | None = None
    latency_ms_p10: float | None = None
    latency_ms_p90: float | None = None
    noise: float | None = None
    samples: int = 0
    disturbed: int = 0
    peak_memory_bytes: int | None = None
    model_bytes: int | None = None
    state: State = "ok"
    reason: str = ""
    latency_ms_p99: float | None = None
    cpu_ms: float | None = None
    energy_mj: float | None = None
    energy_source: EnergySource = "unavailable"
    blocks: Blocks | None = field(default=None, compare=False, repr=False)
    window: Window | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Holds that a latency and a failure exclude each other, and that energy is measured or not there."""
        if self.state not in _STATES:
            raise ValueError(f"unknown state {self.state!r}")
        if (self.state == "ok") != (self.latency_ms is not None):
            raise ValueError(f"state {self.state!r} does not go with latency_ms={self.latency_ms}")
        if (self.energy_source == "measured") != (self.energy_mj is not None):
            raise ValueError(f"energy {self.energy_source!r} does not go with energy_mj={self.energy_mj}")

    @property
    def ok(self) -> bool:
        """Whether there is a latency."""
        return self.state == "ok"

    @property
    def milliseconds(self) -> float:
        """The latency in milliseconds.

        Raises:
            MeasurementError: the measurement failed.
        """
        if self.latency_ms is None:
            raise MeasurementError(cast(Failure, self.state), self.reason)
        return self.latency_ms

    @property
    def latency_ms_iqr(self) -> float | None:
        """Interquartile range over blocks of runs."""
        return None if self.latency_ms is None or self.noise is None else self.noise * self.latency_ms

    @classmethod
    def of(
        cls,
        timing: Timing,
        *,
        model_bytes: int | None = None,
        peak_memory_bytes: int | None = None,
        energy_mj: float | None = None,
    ) -> Measurement:
        """A measurement from timed blocks."""
        return cls(
            latency_ms=timing.median_ms,
            latency_ms_p10=timing.p10_ms,
            latency_ms_p90=timing.p90_ms,
            noise=timing.noise,
            samples=timing.samples,
            disturbed=timing.disturbed,
            peak_memory_bytes=peak_memory_bytes,
            model_bytes=model_bytes,
            latency_ms_p99=timing.p99_ms,
            cpu_ms=timing.cpu_ms,
            energy_mj=energy_mj,
            energy_source="unavailable" if energy_mj is None else "measured",
            blocks=timing.blocks,
        )

    @classmethod
    def exactly(cls, latency_ms: float, *, model_bytes: int, peak_memory_bytes: int) -> Measurement:
        """A latency computed from a formula: no spread, no samples."""
        return cls(latency_ms, latency_ms, latency_ms, 0.0, 0, 0, peak_memory_bytes, model_bytes)

    @classmethod
    def failed(cls, error: MeasurementError) -> Measurement:
        """A failure with its reason."""
        return cls(state=error.state, reason=error.reason)

    def to_json(self) -> str:
        """One line of JSON, without the blocks and the window."""
        data = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in _KEPT_APART}
        return json.dumps(data, sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str, blocks: Blocks | None = None, window: Window | None = None) -> Measurement:
        """The measurement that `to_json` wrote, with what was kept apart.

        Raises:
            ValueError: the text is not such a measurement.
        """
        try:
            return cls(**json.loads(text), blocks=blocks, window=window)
        except TypeError as error:
            raise ValueError(f"not a measurement: {error}") from error
