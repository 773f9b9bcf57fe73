"""Worker: a process that computes jobs, one after the other.

Contexts, jobs and results are pickled between processes of one program alone; nothing pickled is kept.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import tempfile
import traceback
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from typing import Any

from hardware import child
from nas.executors._parcel import Parcel, pickled, unpacked
from nas.executors._pool import Job, Tell, perform

_BOOT = "import sys; sys.path[:] = {path!r}; from nas.executors._worker import serve; serve({handle}, {parcel})"


@dataclass(frozen=True)
class Begun:
    """A worker is ready and begins its job."""


@dataclass(frozen=True)
class Said:
    """What a job is doing."""

    words: str


@dataclass(frozen=True)
class Done:
    """The result of a job."""

    result: Any


@dataclass(frozen=True)
class Failed:
    """What a job raised, or the start of a worker."""

    error: Exception


Message = Begun | Said | Done | Failed


class Worker:
    """The parent's side of a worker process.

    The process ends with its parent, however that ends, and does not listen to the terminal's signals: what stops a
    run is for the parent to decide.
    """

    def __init__(self, parcel: Parcel) -> None:
        self.connection, theirs = Pipe()
        self.job: int | None = None
        """The number of the job that it has."""
        self.born = self.begun = False
        self._words = tempfile.TemporaryFile()  # noqa: SIM115
        with theirs:
            boot = _BOOT.format(path=sys.path, handle=theirs.fileno(), parcel=parcel.handle)
            handles, environment = [theirs.fileno(), parcel.handle], {**os.environ, "OMP_NUM_THREADS": "1"}
            self._process = child.start(boot, handles, self._words, environment)
        with suppress(OSError):
            self.connection.send_bytes(pickle.dumps(parcel.index))

    def begin(self, number: int, job: Job[Any]) -> None:
        """Hands it a job. That it is dead is found out by `receive`.

        Raises:
            TypeError: the job cannot be pickled.
        """
        message = pickled(job)
        self.job, self.begun = number, False
        with suppress(OSError):
            self.connection.send_bytes(message)

    def receive(self) -> Message | None:
        """What it says next; None if it is dead."""
        try:
            message: Message = pickle.loads(self.connection.recv_bytes())
        except (EOFError, OSError):
            return None
        self.born = self.begun = True
        if isinstance(message, Done | Failed):
            self.job = None
        return message

    def end(self) -> str:
        """Ends it and what it started, at once; returns how it had ended by itself, if it had, with its last words."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        how, words = child.end(self._process.wait()), child.last_words(self._words)
        self.connection.close()
        self._words.close()
        return f"{how}: {words}" if words else how


def serve(handle: int, parcel: int) -> None:
    """The process's life: jobs until the other end closes."""
    os.set_inheritable(handle, False)
    os.set_inheritable(parcel, False)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    child.die_with_parent()
    with Connection(handle) as connection, suppress(EOFError):
        try:
            context = unpacked(pickle.loads(connection.recv_bytes()), parcel)
        except Exception as error:
            _send(connection, Failed(error))
            return
        while True:
            _send(connection, _answer(connection.recv_bytes(), context, connection))


def _answer(message: bytes, context: Any, connection: Connection) -> Message:
    """The result of a pickled job that is begun now, or what was raised on the way."""
    _send(connection, Begun())
    return answer(message, context, lambda words: _send(connection, Said(words)))


def answer(message: bytes, context: Any, tell: Tell) -> Done | Failed:
    """The result of a pickled job, or what was raised on the way."""
    try:
        return Done(perform(pickle.loads(message), context, tell))
    except Exception as error:
        error.add_note("".join(traceback.format_exception(error)))
        return Failed(error)


def encoded(message: Message) -> bytes:
    """The pickle of a message; of what it was, where it cannot be read from its pickle."""
    try:
        data = pickle.dumps(message)
        pickle.loads(data)
        return data
    except Exception:
        told = message.error if isinstance(message, Failed) else message
        return pickle.dumps(Failed(RuntimeError(f"{type(told).__name__}: {told}")))


def _send(connection: Connection, message: Message) -> None:
    """Sends a message; without a reader there is nothing left to do."""
    try:
        connection.send_bytes(encoded(message))
    except OSError:
        os._exit(0)
