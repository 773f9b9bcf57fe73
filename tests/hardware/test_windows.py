"""Windows of jobs among references, on a session that the test makes up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hardware import windows
from hardware.conditions import Conditions
from hardware.isolation import Progress
from hardware.measurement import Measurement
from hardware.session import Reply, Request
from hardware.timing import TimingSettings
from hardware.windows import Levels, moved
from tests.hardware.wild import Wild, job


class Machine:
    """Answers each request with the next levels of its references, and with latencies of that speed."""

    def __init__(self, *levels: Levels) -> None:
        self.levels = iter(levels)
        self.requests: list[Request] = []

    def ask(self, request: Request, progress: Progress | None = None) -> Reply:
        """The reply; half of the progress on the way."""
        self.requests.append(request)
        levels = next(self.levels)
        assert isinstance(request.jobs, tuple)
        assert progress is not None
        progress(1, 2)
        found = [Measurement(latency_ms=levels[0] or 1.0) for _ in request.jobs]
        return Reply(found, levels, "2030-01-01T00:00:00+00:00", "none", Conditions())


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(windows, "_first", {})
    monkeypatch.setattr(windows, "_last", {})
    yield


def measured(monkeypatch: pytest.MonkeyPatch, machine: Machine, jobs: int) -> list[Measurement]:
    """Measurements of so many jobs on a machine, with windows of twenty."""
    monkeypatch.setattr(windows, "ask", machine.ask)
    return windows.measured(Wild(), [job(number=number) for number in range(jobs)], TimingSettings())


def test_references_are_measured_again_every_twenty_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(*[(1.0,)] * 3)
    found = measured(monkeypatch, machine, 45)
    assert [len(request.jobs) for request in machine.requests if isinstance(request.jobs, tuple)] == [20, 20, 5]
    assert all(request.references == windows.REFERENCES for request in machine.requests)
    assert len({request.order for request in machine.requests}) == 3
    assert [one.window.moved for one in found[::20] if one.window] == [None, 0.0, 0.0]


def test_a_window_whose_references_moved_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine((1.0, 2.0), (1.0, 2.2), (1.01, 2.0))
    found = measured(monkeypatch, machine, 40)
    assert len(machine.requests) == 3
    assert found[-1].window is not None
    assert (found[-1].window.attempt, found[-1].window.steady) == (1, True)
    assert found[-1].latency_ms == 1.01


def test_small_moves_are_borne(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine((1.0,), (1.029,), (1.0,))
    found = measured(monkeypatch, machine, 60)
    assert len(machine.requests) == 3
    assert all(one.window and one.window.steady for one in found)


def test_a_machine_that_stays_changed_is_flagged_once_and_its_drift_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine((1.0,), (1.3,), (1.2,), (1.25,), (1.2,))
    found = measured(monkeypatch, machine, 60)
    assert len(machine.requests) == 5, "twice again, then kept"
    first, second, third = (one.window for one in found[::20])
    assert first and second and third
    assert (first.steady, second.steady, third.steady) == (True, False, True)
    assert second.references_ms == (1.2,), "the attempt nearest to the window before"
    assert found[20].latency_ms == 1.2
    assert second.moved == pytest.approx(0.2)
    assert (third.moved, third.drift) == (0.0, pytest.approx(0.2))


def test_progress_never_goes_back_and_ends_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    machine = Machine((1.0,), (2.0,), (1.0,))
    monkeypatch.setattr(windows, "ask", machine.ask)
    windows.measured(Wild(), [job()] * 30, TimingSettings(), lambda *at: seen.append(at))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (30, 30)


def test_moves_are_relative_and_failed_references_are_skipped() -> None:
    assert moved((1.0, None, 2.0), (1.1, 1.0, 2.0)) == pytest.approx(0.1)
    assert moved((1.1,), (1.0,)) == pytest.approx(moved((1.0,), (1.1,)) or 0)
    assert moved((None,), (1.0,)) is None
    assert moved((1.0,), ()) is None
