"""The pool of worker processes on this machine."""

from __future__ import annotations

import atexit
import os
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from multiprocessing.connection import wait
from typing import Any

from nas.executors._context import Context
from nas.executors._parcel import Parcel
from nas.executors._pool import Check, Hear, Job, Lost, Pool, R
from nas.executors._worker import Begun, Done, Failed, Said, Worker

_STILLBORN = 3
"""Workers in a row that may die before they begin a job, until it is given up."""


class Processes(Pool):
    """Worker processes that share one copy of the weights and the data."""

    def __init__(self, context: Context, workers: int, retries: int) -> None:
        self._context, self._most, self._retries = context, workers, retries
        self._parcel: Parcel | None = None
        self._workers: list[Worker] = []
        self._stillborn = 0
        self._owner = os.getpid()

    @property
    def size(self) -> int:
        """How many workers there are now."""
        return len(self._workers)

    def map(
        self, jobs: Sequence[Job[R]], check: Check = lambda: None, hear: Hear = lambda number, words: None
    ) -> Iterator[R | Lost]:
        """The results in order."""
        round_ = _Round(jobs, check, hear, self._retries)
        try:
            for number in range(len(jobs)):
                while number not in round_.answers:
                    self._begin(round_)
                    self._listen(round_)
                yield round_.result(number)
        finally:
            self._dismiss([worker for worker in self._workers if worker.job is not None])

    def close(self) -> None:
        """Ends the workers and lets go of what they share."""
        if self._owner != os.getpid():
            return
        self._dismiss(list(self._workers))
        if self._parcel is not None:
            self._parcel.close()
            self._parcel = None
            atexit.unregister(self.close)

    def _begin(self, round_: _Round) -> None:
        """Gives each idle worker a job; starts workers while there are more jobs than workers."""
        while (number := round_.next(self._room(round_))) is not None:
            idle = next((worker for worker in self._workers if worker.job is None), None)
            (idle or self._started()).begin(number, round_.jobs[number])

    def _room(self, round_: _Round) -> int:
        """How many more jobs can be begun now."""
        return self._most - sum(worker.job is not None for worker in self._workers)

    def _started(self) -> Worker:
        """A new worker."""
        if self._parcel is None:
            self._parcel = Parcel(self._context)
            atexit.register(self.close)
        worker = Worker(self._parcel)
        self._workers.append(worker)
        return worker

    def _listen(self, round_: _Round) -> None:
        """Takes in what busy workers say, waiting for it.

        Raises:
            BaseException: no worker is busy, because `check` has asked to stop.
        """
        busy = {worker.connection: worker for worker in self._workers if worker.job is not None}
        if not busy:
            round_.give_up()
        for connection in wait(list(busy)):
            worker = busy[connection]  # type: ignore[index]
            assert worker.job is not None
            self._take(worker, worker.job, round_)

    def _take(self, worker: Worker, number: int, round_: _Round) -> None:
        """Takes in one message, or the death of a worker."""
        match worker.receive():
            case Begun():
                self._stillborn = 0
            case Said(words):
                round_.hear(number, words)
            case Done() | Failed() as answer:
                round_.answers[number] = answer
            case None:
                self._workers.remove(worker)
                self._lost(worker, number, round_)

    def _lost(self, worker: Worker, number: int, round_: _Round) -> None:
        """Puts back the job of a dead worker.

        Raises:
            RuntimeError: too many workers died before they began anything.
        """
        how = worker.end()
        self._stillborn += not worker.born
        if self._stillborn >= _STILLBORN:
            raise RuntimeError(f"worker processes cannot start: {how}")
        round_.lost(number, how, counts=worker.born)

    def _dismiss(self, workers: Sequence[Worker]) -> None:
        for worker in workers:
            self._workers.remove(worker)
            worker.end()


class _Round:
    """The jobs of one call of `map`, and what has become of them."""

    def __init__(self, jobs: Sequence[Job[Any]], check: Check, hear: Hear, retries: int) -> None:
        self.jobs, self.hear = jobs, hear
        self.answers: dict[int, Done | Failed] = {}
        self._check, self._retries = check, retries
        self._waiting = deque(range(len(jobs)))
        self._losses: Counter[int] = Counter()
        self._stop: BaseException | None = None

    def next(self, room: int) -> int | None:
        """The number of the job to begin; None without room, without jobs, or if `check` has asked to stop."""
        if room and self._waiting and self._stop is None:
            try:
                self._check()
            except BaseException as error:
                self._stop = error
        return self._waiting.popleft() if room and self._waiting and self._stop is None else None

    def lost(self, number: int, how: str, counts: bool) -> None:
        """A worker was lost with this job; its own share of that is counted only once it was begun."""
        self._losses[number] += counts
        times = self._losses[number]
        if times > self._retries:
            self.answers[number] = Done(Lost(f"its worker was lost {times} times, last: {how}"))
        else:
            self._waiting.appendleft(number)

    def result(self, number: int) -> Any:
        """The result of a job, which is given once.

        Raises:
            Exception: what the job raised.
        """
        answer = self.answers.pop(number)
        if isinstance(answer, Failed):
            raise answer.error
        return answer.result

    def give_up(self) -> None:
        """Raises what `check` raised."""
        assert self._stop is not None
        raise self._stop
