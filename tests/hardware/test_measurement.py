"""Measurement: a latency, or a failure with its reason."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.blocks import Blocks, Timing
from hardware.conditions import Conditions
from hardware.measurement import Measurement, MeasurementError, State, Window

FAILURES: list[State] = ["unsupported_operator", "compile_failed", "out_of_memory", "timeout", "crashed"]


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
    blocks = Blocks.of([(0, 2.0, 1.9, 1.0)], runs=3)
    timing = Timing(2.0, 1.0, 4.0, 5.0, noise=0.5, cpu_ms=1.9, samples=7, disturbed=3, blocks=blocks)
    measurement = Measurement.of(timing, model_bytes=11, energy_mj=0.25)
    assert measurement == Measurement(
        2.0, 1.0, 4.0, 0.5, 7, 3, None, 11, "ok", "", 5.0, 1.9, energy_mj=0.25, energy_source="measured"
    )
    assert measurement.blocks is blocks
    assert measurement.latency_ms_iqr == 1.0


def test_energy_is_measured_or_unavailable() -> None:
    assert Measurement(latency_ms=1.0).energy_source == "unavailable"
    with pytest.raises(ValueError, match="energy 'unavailable' does not go with"):
        Measurement(latency_ms=1.0, energy_mj=1.0)
    with pytest.raises(ValueError, match="energy 'measured' does not go with"):
        Measurement(latency_ms=1.0, energy_source="measured")


def test_measurements_of_the_first_format_are_read() -> None:
    text = """{"latency_ms": 1.0, "latency_ms_p10": 0.9, "latency_ms_p90": 1.1, "noise": 0.1, "samples": 5,
        "disturbed": 0, "peak_memory_bytes": null, "model_bytes": 7, "state": "ok", "reason": ""}"""
    assert Measurement.from_json(text) == Measurement(1.0, 0.9, 1.1, 0.1, 5, 0, None, 7)


def test_a_window_comes_back_from_json() -> None:
    conditions = Conditions(frequency_mhz=2600.0, throttled=False, governor="performance", affinity=(0, 1))
    window = Window("2030-01-01T00:00:00+00:00", 1, {"visits": 4}, (0.1, None), 0.05, 0.1, False, "RAPL", conditions)
    assert Window.from_json(window.to_json()) == window
    for text in ("{}", "[]", '{"started": "x", "conditions": {"affinity": []}, "references_ms": [], "speed": 1}', ""):
        with pytest.raises(ValueError, match=r"."):
            Window.from_json(text)


def test_blocks_are_four_little_endian_floats_each() -> None:
    rows = [(0.0, 1.5, 1.25, 1.0), (1.0, 3.0, 1.0, 2.0)]
    blocks = Blocks.of(rows, runs=4)
    assert blocks.data == struct.pack("<8f", *(value for row in rows for value in row))
    assert (len(blocks), blocks.visits) == (2, 2)
    assert list(blocks.calm(busy_ratio=1.25, slow_ratio=1.5)) == [True, False]
    assert list(blocks.calm(busy_ratio=None, slow_ratio=2.5)) == [True, True]
