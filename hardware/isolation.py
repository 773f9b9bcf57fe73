"""Isolation: measured programs run in a worker process, which may crash or hang without harm.

The worker says what it is about to do before each step. If it dies or falls silent, that step is what it died of.
Requests and replies are pickled between these two processes of one program alone; nothing pickled is kept.
"""

from __future__ import annotations

import atexit
import gc
import os
import pickle
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from typing import Any

from hardware import child
from hardware.measurement import Failure, MeasurementError
from hardware.session import Reply, Request, Session, Step
from hardware.timing import TimingSettings

Progress = Callable[[int, int], None]

_POLL_S = 0.25
_IDLE_S = 60.0
_START_MS = 120_000.0
_BOOT = "import sys; sys.path[:] = {path!r}; from hardware.isolation import _serve; _serve({handle})"

_here: ContextVar[bool] = ContextVar("measure_in_this_process", default=False)
_mine = threading.local()


@dataclass(frozen=True)
class Death:
    """How a worker ended, and in which job (its number, `SHARED` or `REFERENCE`)."""

    job: int
    error: MeasurementError


@contextmanager
def in_this_process() -> Iterator[None]:
    """Measures without a worker within: for parts that only this process knows. A crash is then a crash."""
    token = _here.set(True)
    try:
        yield
    finally:
        _here.reset(token)


def ask(request: Request, progress: Progress | None = None) -> Reply | Death:
    """The reply to a request, from this thread's worker, or how the worker died.

    Raises:
        TypeError: something in the request cannot be sent to another process.
        Exception: what the backend raised.
    """
    if _here.get() or os.name != "posix":
        session = Session()
        try:
            return session.serve(request, lambda step: _tell(step, progress))
        finally:
            session.close()
    message = _pickled(request)
    answer = _worker().ask(message, request, progress)
    if answer is None:
        answer = _worker().ask(message, request, progress)
    if answer is None:
        raise RuntimeError("the process that measures ended before it began")
    if isinstance(answer, Exception):
        raise answer
    return answer


def shut_down() -> None:
    """Ends this thread's worker; the next request starts another. An idle worker ends by itself after 60 s."""
    worker: Worker | None = getattr(_mine, "worker", None)
    if worker is not None:
        worker.kill()
        _mine.worker = None


class Worker:
    """A process that serves requests, one after the other.

    It ends with the thread that started it, however that ends, and does not listen to the terminal's signals: what
    stops a run is for the parent to decide.
    """

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._connection, theirs = Pipe()
        self._words = tempfile.TemporaryFile()  # noqa: SIM115
        with theirs:
            boot = _BOOT.format(path=sys.path, handle=theirs.fileno())
            self.process = child.start(boot, [theirs.fileno()], self._words)

    @property
    def usable(self) -> bool:
        """Whether it lives, and belongs to this process rather than to the one that forked it."""
        return self.owner == os.getpid() and self.process.poll() is None

    def ask(self, message: bytes, request: Request, progress: Progress | None) -> Reply | Death | Exception | None:
        """The reply; what the backend raised; how the worker died; None if it had ended before, with nothing to do."""
        try:
            return self._listen(message, request.settings, progress)
        except BaseException:
            self.kill()
            raise

    def _listen(self, message: bytes, settings: TimingSettings, progress: Progress | None) -> Any:
        """Sends the message, and hears steps until an answer comes or none can come."""
        step = None
        limit_ms = _START_MS
        try:
            self._connection.send_bytes(message)
            while self._heard(limit_ms / 1e3):
                answer = pickle.loads(self._connection.recv_bytes())
                if not isinstance(answer, Step):
                    return answer
                step = answer
                limit_ms = settings.prepare_ms if step.kind == "prepare" else settings.visit_limit_ms
                _tell(step, progress)
            return self._hung(step, limit_ms)
        except (EOFError, OSError):
            return self._died(step)

    def kill(self) -> None:
        """Ends it and what it started, at once."""
        if self.owner == os.getpid():
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._connection.close()
        self._words.close()

    def _heard(self, seconds: float) -> bool:
        """Whether there is something to read, be it the end, within a time."""
        waited = 0.0
        while waited < seconds:
            if self._connection.poll(min(_POLL_S, seconds)):
                return True
            if self.process.poll() is not None and not self._connection.poll(0):
                raise EOFError
            waited += _POLL_S
        return False

    def _hung(self, step: Step | None, limit_ms: float) -> Death | Exception:
        if step is None:
            return self._unborn(f"silent for {limit_ms / 1e3:g} s")
        doing = "running" if step.kind == "visit" else "preparing"
        return self._death(step, "timeout", f"no end of {doing} it after {limit_ms / 1e3:g} s")

    def _died(self, step: Step | None) -> Death | Exception | None:
        """The state for a process that ended by itself, with its own words."""
        code = self.process.wait()
        how = child.end(code)
        if step is None:
            return self._unborn(how) if code > 0 else None
        return self._death(step, "crashed", how)

    def _unborn(self, how: str) -> Exception:
        words = child.last_words(self._words)
        self.kill()
        return RuntimeError(f"the process that measures cannot start: {how}: {words}")

    def _death(self, step: Step, state: Failure, how: str) -> Death:
        words = child.last_words(self._words)
        self.kill()
        return Death(step.job, MeasurementError(state, f"{how}: {words}" if words else how))


def _worker() -> Worker:
    """This thread's worker, which is started where there is none that lives."""
    worker: Worker | None = getattr(_mine, "worker", None)
    if worker is None or not worker.usable:
        if worker is not None:
            worker.kill()
        else:
            atexit.register(shut_down)
        worker = _mine.worker = Worker()
    return worker


def _pickled(request: Request) -> bytes:
    try:
        return pickle.dumps(request)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise TypeError(
            f"cannot be sent to the process that measures: {error}; define parts at the top of a module that can be "
            "imported, or measure within hardware.isolation.in_this_process()"
        ) from error


def _tell(step: Step, progress: Progress | None) -> None:
    if progress and step.total:
        progress(step.done, step.total)


def _serve(handle: int, idle_s: float = _IDLE_S) -> None:
    """The worker's life: requests until the other end closes, or nothing comes for a while."""
    os.set_inheritable(handle, False)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    child.die_with_parent()
    gc.collect()
    gc.freeze()
    with Connection(handle) as connection:
        session = Session()
        while connection.poll(idle_s):
            try:
                message = connection.recv_bytes()
            except EOFError:
                return
            _send(connection, _answer(session, message, connection))


def _answer(session: Session, message: bytes, connection: Connection) -> Reply | Exception:
    """The reply, or what was raised on the way."""
    from hardware.memory import limit_memory

    limit_memory()
    try:
        return session.serve(pickle.loads(message), lambda step: _send(connection, step))
    except Exception as error:
        session.close()
        return error


def _send(connection: Connection, message: Any) -> None:
    """Sends a message; without a reader there is nothing left to do."""
    try:
        data = pickle.dumps(message)
        pickle.loads(data)
    except Exception:
        data = pickle.dumps(RuntimeError(f"{type(message).__name__}: {message}"))
    try:
        connection.send_bytes(data)
    except OSError:
        os._exit(0)
