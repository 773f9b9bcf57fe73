"""What the machine tells about itself, on files that the test makes up."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from hardware import conditions
from hardware.conditions import Conditions, Watch


@pytest.fixture
def cpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in place of the system's own on processors."""
    monkeypatch.setattr(conditions, "_CPUS", tmp_path)
    return tmp_path


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def watched(action: object = None) -> Conditions:
    watch = Watch()
    with watch.watching():
        if callable(action):
            action()
    return watch.conditions


def test_what_the_machine_does_not_tell_is_none(cpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "cpu_freq", lambda: None)
    monkeypatch.setattr(psutil, "sensors_temperatures", dict, raising=False)
    found = watched()
    assert (found.frequency_mhz, found.temperature_c, found.throttled, found.boost) == (None, None, None, None)
    assert (found.gpu_frequency_mhz, found.gpu_temperature_c, found.governor) == (None, None, "")


def test_what_the_machine_tells_is_recorded(cpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "cpu_freq", lambda: SimpleNamespace(current=2400.5))
    sensors = {
        "k10temp": [SimpleNamespace(current=50.0), SimpleNamespace(current=61.5)],
        "nvme": [SimpleNamespace(current=90.0)],
    }
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: sensors, raising=False)
    for core, governor in enumerate(["powersave", "performance"]):
        put(cpus / f"cpu{core}/cpufreq/scaling_governor", governor)
    put(cpus / "cpufreq/boost", "0")
    found = watched()
    assert (found.frequency_mhz, found.temperature_c, found.boost) == (2400.5, 61.5, False)
    assert found.governor == "performance,powersave"
    assert found.affinity == tuple(sorted(os.sched_getaffinity(0)))


@pytest.mark.parametrize(("text", "boost"), [("0", True), ("1", False), ("", None)])
def test_intels_switch_is_the_other_way_round(cpus: Path, text: str, boost: bool | None) -> None:
    put(cpus / "intel_pstate/no_turbo", text)
    assert watched().boost is boost


def test_throttling_is_that_of_the_window(cpus: Path) -> None:
    count = cpus / "cpu0/thermal_throttle/core_throttle_count"
    put(count, "7")
    assert watched().throttled is False
    assert watched(lambda: put(count, "8")).throttled is True


def test_work_of_others_is_told_apart_from_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([SimpleTimes(10.0, 0.0, 0.0), SimpleTimes(16.0, 2.0, 2.0)])
    own = iter([1.0, 5.0])
    monkeypatch.setattr(psutil, "cpu_times", lambda: next(times))
    monkeypatch.setattr(psutil, "cpu_count", lambda: 2)
    monkeypatch.setattr(
        psutil, "Process", lambda: SimpleNamespace(cpu_times=lambda: SimpleNamespace(user=next(own), system=0.0))
    )
    found = watched()
    assert found.other_cores == pytest.approx((6.0 - 4.0) / 10.0 * 2)
    assert found.stolen == pytest.approx(2.0 / 10.0)


class SimpleTimes(tuple[float, float, float]):
    """User time, idle time and stolen time, as psutil gives them."""

    def __new__(cls, user: float, idle: float, steal: float) -> SimpleTimes:
        return super().__new__(cls, (user, idle, steal))

    idle = property(lambda self: self[1])
    steal = property(lambda self: self[2])
