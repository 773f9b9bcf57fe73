"""Measurement: what one program cost on one device, or why it could not be measured."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal, cast, get_args

from hardware.timing import Timing

State = Literal["ok", "unsupported_operator", "compile_failed", "out_of_memory", "timeout"]
Failure = Literal["unsupported_operator", "compile_failed", "out_of_memory", "timeout"]


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
class Measurement:
    """The cost of one batch of a program.

    Attributes:
        latency_ms: median wall time of one run; None exactly when `state` is not `ok`.
        latency_ms_p10: tenth percentile over blocks of runs.
        latency_ms_p90: ninetieth percentile over blocks of runs.
        noise: interquartile range over median, without unit.
        samples: blocks of runs behind the statistics.
        disturbed: blocks set aside or suspect, because other load took the processor.
        peak_memory_bytes: greatest memory at once, where the backend can tell.
        model_bytes: size of the deployed model.
        state: `ok`, or the kind of failure.
        reason: the runtime's own words about a failure; notes otherwise.
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

    def __post_init__(self) -> None:
        """Holds that a latency and a failure exclude each other."""
        if self.state not in get_args(State):
            raise ValueError(f"unknown state {self.state!r}")
        if (self.state == "ok") != (self.latency_ms is not None):
            raise ValueError(f"state {self.state!r} does not go with latency_ms={self.latency_ms}")

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

    @classmethod
    def of(cls, timing: Timing, *, model_bytes: int | None = None, peak_memory_bytes: int | None = None) -> Measurement:
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
        """One line of JSON."""
        return json.dumps(asdict(self), sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Measurement:
        """The measurement that `to_json` wrote.

        Raises:
            ValueError: the text is not such a measurement.
        """
        try:
            return cls(**json.loads(text))
        except TypeError as error:
            raise ValueError(f"not a measurement: {error}") from error
