"""Actor: a Ray worker that computes jobs, one after the other, and the driver's side of it."""

from __future__ import annotations

import os
import pickle
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

import psutil
import ray
from ray.exceptions import RayError

from nas.executors._cluster import Content, received
from nas.executors._parcel import pickled
from nas.executors._pool import Job
from nas.executors._worker import Begun, Done, Failed, Message, Said, answer, encoded

_LOOKS, _BETWEEN_LOOKS_SECONDS = 1000, 0.02


class Actor:
    """The worker's side. Jobs run in a thread of their own, so that their words are told while they run."""

    def __init__(self, path: list[str], content: Content) -> None:
        self._context = received(path, content)
        self._thread = ThreadPoolExecutor(max_workers=1)

    def place(self) -> tuple[str, int]:
        """The machine's name and the number of the process."""
        return socket.gethostname(), os.getpid()

    def run(self, job: bytes) -> Iterator[bytes]:
        """What there is to say of a pickled job, its result last."""
        yield encoded(Begun())
        said: SimpleQueue[Message] = SimpleQueue()
        self._thread.submit(self._perform, job, said)
        message: Message = Begun()
        while not isinstance(message, Done | Failed):
            message = said.get()
            yield encoded(message)

    def _perform(self, job: bytes, said: SimpleQueue[Message]) -> None:
        """Computes a job; one that ends its thread ends the process."""
        try:
            said.put(answer(job, self._context, lambda words: said.put(Said(words))))
        except BaseException:
            os._exit(1)


class RemoteWorker:
    """The driver's side of an actor, which waits for a place in the cluster at first."""

    def __init__(self, content: ray.ObjectRef[Content]) -> None:
        remote: Any = ray.remote(num_cpus=1, scheduling_strategy="SPREAD")(Actor)
        self._actor = remote.remote(sys.path, content)
        self.expected: Any = self._actor.place.remote()
        """What it will say next: one value, or those of a job."""
        self.job: int | None = None
        self.born = self.begun = False
        self._process: psutil.Process | None = None
        self._how = "ended"

    @property
    def idle(self) -> bool:
        """Whether it can be handed a job."""
        return self.born and self.job is None

    def begin(self, number: int, job: Job[Any]) -> None:
        """Hands it a job. That it is dead is found out by `receive`.

        Raises:
            TypeError: the job cannot be pickled.
        """
        message = pickled(job)
        self.job, self.begun = number, False
        self.expected = self._actor.run.options(num_returns="streaming").remote(message)

    def receive(self) -> Message | None:
        """What it says next; None if it is dead."""
        try:
            return self._message() if self.born else self._birth()
        except RayError as error:
            self._how = _cause(error)
            return None

    def end(self) -> str:
        """Ends it, at once; returns how it had ended by itself, if it had.

        Raises:
            RuntimeError: it computes on, on this machine, where it would disturb what is measured.
        """
        with suppress(RayError):
            ray.kill(self._actor)
        for _ in range(_LOOKS):
            if self._process is None or _ended(self._process):
                return self._how
            time.sleep(_BETWEEN_LOOKS_SECONDS)
        raise RuntimeError(f"worker process {self._process} does not end")

    def _birth(self) -> Begun:
        """It has a place; a process of this machine is remembered, to see it end."""
        machine, number = ray.get(self.expected)
        self.born = True
        if machine == socket.gethostname():
            with suppress(psutil.NoSuchProcess):
                self._process = psutil.Process(number)
        return Begun()

    def _message(self) -> Message:
        """The next message on its job."""
        message: Message = pickle.loads(ray.get(next(self.expected)))
        self.begun = True
        if isinstance(message, Done | Failed):
            self.job = None
        return message


def _ended(process: psutil.Process) -> bool:
    """Whether a process computes no more."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _cause(error: RayError) -> str:
    """Ray's words on a death, without the numbers of things that are gone."""
    lines = [line.strip() for line in str(error).splitlines() if line and not line.startswith("\t")]
    return " ".join(lines)
