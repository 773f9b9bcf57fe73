"""Child: a process of this program beside itself, which ends with its parent, and whose last words are kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import IO

_LAST_LINES = 8
_LAST_BYTES = 4096
_KILL_PARENT_GONE = 1


def start(
    program: str, handles: Sequence[int], words: IO[bytes], environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """A new interpreter in a session of its own, which the terminal's signals do not reach.

    Args:
        program: what it runs.
        handles: open files that it inherits.
        words: takes its standard output and error.
        environment: its variables; this process's if not given.
    """
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.DEVNULL,
        stdout=words,
        stderr=words,
        pass_fds=handles,
        start_new_session=True,
        env=environment,
    )


def end(code: int) -> str:
    """How a process ended, by its return code."""
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


def last_words(words: IO[bytes]) -> str:
    """The last lines that a process wrote to its standard output or error."""
    size = words.seek(0, os.SEEK_END)
    words.seek(max(size - _LAST_BYTES, 0))
    lines = words.read().decode(errors="replace").strip().splitlines()
    return "\n".join(lines[-_LAST_LINES:])


def die_with_parent() -> None:
    """Asks Linux to kill this process when the parent ends; elsewhere the closed connection ends it."""
    if sys.platform == "linux":
        import ctypes

        parent = os.getppid()
        ctypes.CDLL(None).prctl(_KILL_PARENT_GONE, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(0)
