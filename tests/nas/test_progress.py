from __future__ import annotations

import io
import subprocess
import sys

import pytest

from nas.progress import BarProgress, LineProgress, duration, progress


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


def test_lines_come_first_and_last_and_every_five_seconds_between() -> None:
    clock, stream = Clock(), io.StringIO()
    with LineProgress(stream, clock).phase("train", total=40) as phase:
        for step in range(40):
            clock.now += 1.5
            phase.advance(1, note=f"loss {1 / (step + 1):.2f}")
    shown = lines(stream)
    assert shown[0] == "train 0/40 (0 %)"
    assert shown[1] == "train 4/40 (10 %), 0:54 left, loss 0.25"
    assert len(shown) == 1 + 10 + 1
    assert shown[-1] == "train 40/40 (100 %), took 1:00, loss 0.03"


def test_a_note_stays_until_the_next() -> None:
    clock, stream = Clock(), io.StringIO()
    with LineProgress(stream, clock).phase("search") as phase:
        phase.advance(note="12 on the front")
        phase.advance(2)
    assert lines(stream) == ["search 0", "search 3, took 0:00, 12 on the front"]


def test_a_resumed_phase_counts_time_for_its_own_steps_only() -> None:
    clock, stream = Clock(), io.StringIO()
    with LineProgress(stream, clock).phase("train", total=40, done=30) as phase:
        clock.now += 10
        phase.advance(5)
    assert lines(stream)[:2] == ["train 30/40 (75 %)", "train 35/40 (87 %), 0:10 left"]


def test_a_failure_is_not_shown_as_an_end() -> None:
    clock, stream = Clock(), io.StringIO()
    with pytest.raises(ZeroDivisionError), LineProgress(stream, clock).phase("train", total=4) as phase:
        phase.advance(3)
        raise ZeroDivisionError
    assert lines(stream)[-1] == "train 3/4 (75 %), stopped after 0:00"


def test_a_phase_of_nothing_divides_by_nothing() -> None:
    stream = io.StringIO()
    with LineProgress(stream, Clock()).phase("finalize", total=0):
        pass
    assert lines(stream) == ["finalize 0/0", "finalize 0/0, took 0:00"]


def test_the_stream_decides() -> None:
    assert isinstance(progress(io.StringIO()), LineProgress)
    assert isinstance(progress(Terminal()), BarProgress)


def test_bars_show_name_count_and_note_and_take_markup_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    clock, stream = Clock(), Terminal()
    bars = progress(stream, clock)
    for _ in range(2):
        with bars.phase("train", total=40, done=10) as outer, bars.phase("inner [red]") as inner:
            clock.now += 1
            outer.advance(3, note="loss [0.31]")
            inner.advance()
    shown = stream.getvalue()
    assert shown.count("\x1b[?25h") >= 2  # the cursor comes back each time
    for text in ("train", "13/40", "loss [0.31]", "inner [red]"):
        assert text in shown


def test_durations() -> None:
    assert [duration(seconds) for seconds in (0, 59.6, 725, 3723)] == ["0:00", "1:00", "12:05", "1:02:03"]


def test_rich_is_imported_only_for_bars() -> None:
    modules = "nas.progress, nas.yaml_source, nas.signals, nas.files"
    code = f"import sys, {modules}; print([name for name in ('rich', 'torch') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
