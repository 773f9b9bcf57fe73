"""Interruption: the first signal asks a run to stop at its next safe point, the second stops it at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

HANDLED = (signal.SIGINT, signal.SIGTERM)


class InterruptedRun(KeyboardInterrupt):
    """A run stopped by a signal; `exit_code` is what the process should return (130 for SIGINT, 143 for SIGTERM)."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.exit_code = 128 + number


class Interruption:
    """While it is entered, the first SIGINT or SIGTERM sets `requested`, the second raises `InterruptedRun`.

    Loops ask `requested`, or call `check()`, where stopping loses nothing. On leaving, the earlier handlers come back.
    Outside the main thread, where Python installs no handlers, it only ever stays quiet.
    """

    def __init__(self, announce: Callable[[str], None] | None = None) -> None:
        self._announce = announce or _write_to_stderr
        self._number: int | None = None
        self._earlier: dict[int, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether a signal has asked to stop."""
        return self._number is not None

    @property
    def exit_code(self) -> int:
        """128 plus the first signal's number, or 0 if none came."""
        return 0 if self._number is None else 128 + self._number

    def check(self) -> None:
        """Raises `InterruptedRun` if a signal has asked to stop: call it where stopping loses nothing."""
        if self._number is not None:
            raise InterruptedRun(self._number)

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._earlier = {number: signal.signal(number, self._receive) for number in HANDLED}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._earlier = {}

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._number is not None:
            raise InterruptedRun(number)
        self._number = number
        self._announce("finishing the current step, press again to stop at once")


def _write_to_stderr(message: str) -> None:
    """Writes past Python's buffers, which a signal handler must not enter twice."""
    os.write(2, f"\n{message}\n".encode())
