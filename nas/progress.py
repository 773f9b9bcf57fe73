"""Progress: how far each phase of a run has come, as bars on a terminal and as plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

Clock = Callable[[], float]
SECONDS_BETWEEN_LINES = 5.0


class Phase(ABC):
    """One phase of a run while it lasts."""

    @abstractmethod
    def advance(self, amount: int = 1, note: str = "") -> None:
        """Tells that this much more is done, with a few words on how it stands."""


class Progress(ABC):
    """Where the phases of a run are shown."""

    @abstractmethod
    def phase(self, name: str, total: int | None = None, done: int = 0) -> AbstractContextManager[Phase]:
        """A phase of `total` steps, of which a resumed run has `done` some already. Phases may stand in one another."""


class ToldProgress(Progress):
    """Words for each step, for whoever shows them in a phase of his own."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    @contextmanager
    def phase(self, name: str, total: int | None = None, done: int = 0) -> Iterator[Phase]:
        """Tells of its beginning and of each step."""
        yield _Told(self._tell, name, total, done)


class _Told(Phase):
    """One phase as words."""

    def __init__(self, tell: Callable[[str], None], name: str, total: int | None, done: int) -> None:
        self._tell, self._name, self._total, self._done = tell, name, total, done
        self.advance(0)

    def advance(self, amount: int = 1, note: str = "") -> None:
        """Tells `fine-tune 12/40, loss 0.31`."""
        self._done += amount
        count = self._name if self._total is None else f"{self._name} {self._done}/{self._total}"
        self._tell(", ".join(filter(None, [count, note])))


def progress(stream: TextIO | None = None, clock: Clock = time.monotonic) -> Progress:
    """Bars if the stream (standard error if not given) is a terminal, else lines."""
    stream = sys.stderr if stream is None else stream
    return BarProgress(stream, clock) if stream.isatty() else LineProgress(stream, clock)


class LineProgress(Progress):
    """A line at the beginning and the end of each phase, and between them at most one every few seconds."""

    def __init__(self, stream: TextIO, clock: Clock = time.monotonic, every: float = SECONDS_BETWEEN_LINES) -> None:
        self.stream, self.clock, self.every = stream, clock, every

    @contextmanager
    def phase(self, name: str, total: int | None = None, done: int = 0) -> Iterator[Phase]:
        """Writes the first line, and on leaving the last one."""
        lines = _Lines(self, name, total, done)
        lines.write()
        try:
            yield lines
        except BaseException:
            lines.write("stopped after")
            raise
        lines.write("took")


class _Lines(Phase):
    """One phase as lines."""

    def __init__(self, to: LineProgress, name: str, total: int | None, done: int) -> None:
        self._to, self._name, self._total = to, name, total
        self._done = self._before = done
        self._began = self._written = to.clock()
        self._note = ""

    def advance(self, amount: int = 1, note: str = "") -> None:
        """Counts, and writes a line if the last one is old enough."""
        self._done += amount
        self._note = note or self._note
        if self._to.clock() - self._written >= self._to.every:
            self.write()

    def write(self, closing: str = "") -> None:
        """Writes `train 12/40 (30 %), 0:42 left, loss 0.31`, or in place of the rest how long it took."""
        self._written = self._to.clock()
        elapsed = self._written - self._began
        left = self._left(elapsed)
        times = (
            [f"{closing} {duration(elapsed)}"] if closing else [f"{duration(left)} left"] if left is not None else []
        )
        print(", ".join([self._count(), *times, *filter(None, [self._note])]), file=self._to.stream, flush=True)

    def _count(self) -> str:
        if self._total is None:
            return f"{self._name} {self._done}"
        share = f" ({100 * self._done // self._total} %)" if self._total else ""
        return f"{self._name} {self._done}/{self._total}{share}"

    def _left(self, elapsed: float) -> float | None:
        """Seconds that the rest takes at this run's rate, once there is one."""
        new = self._done - self._before
        if self._total is None or new <= 0:
            return None
        return elapsed / new * max(0, self._total - self._done)


class BarProgress(Progress):
    """A bar for each phase with its remaining time."""

    def __init__(self, stream: TextIO, clock: Clock = time.monotonic) -> None:
        self.stream, self.clock = stream, clock
        self._bars: Bars | None = None

    @contextmanager
    def phase(self, name: str, total: int | None = None, done: int = 0) -> Iterator[Phase]:
        """Adds a bar; the outermost phase starts and ends the display."""
        outermost = self._bars is None
        bars = self._bars or self._start()
        task = bars.add_task(name, total=total, completed=done, note="")
        try:
            yield _Bar(bars, task)
        finally:
            bars.stop_task(task)
            if outermost:
                bars.stop()
                self._bars = None

    def _start(self) -> Bars:
        from rich import progress as rich
        from rich.console import Console

        text = rich.TextColumn("{task.description}", markup=False)
        note = rich.TextColumn("{task.fields[note]}", markup=False)
        columns: list[Any] = [text, rich.BarColumn(), rich.MofNCompleteColumn(), rich.TimeRemainingColumn(), note]
        self._bars = rich.Progress(*columns, console=Console(file=self.stream), get_time=self.clock)
        self._bars.start()
        return self._bars


class _Bar(Phase):
    """One phase as a bar."""

    def __init__(self, bars: Bars, task: Any) -> None:
        self._bars, self._task = bars, task

    def advance(self, amount: int = 1, note: str = "") -> None:
        """Moves the bar."""
        if note:
            self._bars.update(self._task, advance=amount, note=note)
        else:
            self._bars.update(self._task, advance=amount)


def duration(seconds: float) -> str:
    """`0:42`, `12:05` or `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
