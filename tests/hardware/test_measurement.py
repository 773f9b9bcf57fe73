"""Measurement: a latency, or a failure with its reason."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.measurement import Measurement, MeasurementError, State
from hardware.timing import Timing

FAILURES: list[State] = ["unsupported_operator", "compile_failed", "out_of_memory", "timeout"]


@given(st.floats(0, 1e6), st.integers(0, 100), st.text())
def test_json_and_back_is_the_same(latency: float, samples: int, reason: str) -> None:
    measurement = Measurement(latency_ms=latency, samples=samples, model_bytes=samples, reason=reason)
    assert Measurement.from_json(measurement.to_json()) == measurement


@pytest.mark.parametrize("state", FAILURES)
def test_a_failure_keeps_its_words_and_has_no_latency(state: State) -> None:
    measurement = Measurement(state=state, reason="the runtime's own words")
    assert Measurement.from_json(measurement.to_json()) == measurement
    assert not measurement.ok
    with pytest.raises(MeasurementError, match="own words") as caught:
        _ = measurement.milliseconds
    assert caught.value.state == state


def test_a_latency_and_a_failure_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="does not go with"):
        Measurement(latency_ms=-1.0, state="timeout")
    with pytest.raises(ValueError, match="does not go with"):
        Measurement()
    with pytest.raises(ValueError, match="unknown state"):
        Measurement(state="broken")  # type: ignore[arg-type]


def test_no_number_that_json_lacks_is_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        Measurement(latency_ms=math.nan).to_json()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"latency_ms": 1.0, "speed": 2}'])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Measurement.from_json(text)


def test_the_statistics_are_those_of_the_timing() -> None:
    timing = Timing(median_ms=2.0, p10_ms=1.0, p90_ms=4.0, noise=0.5, cpu_ms=1.9, samples=7, disturbed=3)
    measurement = Measurement.of(timing, model_bytes=11)
    assert measurement == Measurement(2.0, 1.0, 4.0, 0.5, 7, 3, None, 11)
