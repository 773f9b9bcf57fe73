"""Crew: a pool whose workers may be lost; how jobs are handed out, put back and answered."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar

from nas.executors._pool import Check, Hear, Job, Lost, Pool, R
from nas.executors._worker import Begun, Done, Failed, Message, Said

_STILLBORN = 3
"""Workers in a row that may die before they can begin a job, until it is given up."""


class Hand(Protocol):
    """The parent's side of a worker."""

    job: int | None
    """The number of the job that it has."""
    born: bool
    """Whether it has ever been heard."""
    begun: bool
    """Whether it has begun the job that it has."""

    def begin(self, number: int, job: Job[Any]) -> None:
        """Hands it a job. That it is dead is found out by `receive`."""

    def receive(self) -> Message | None:
        """What it says next; None if it is dead."""

    def end(self) -> str:
        """Ends it, at once; returns how it had ended by itself, if it had."""


H = TypeVar("H", bound=Hand)


class Crew(Pool, Generic[H]):
    """Workers of one kind; a lost one costs its job a further attempt, and is replaced when there is work for it."""

    def __init__(self, retries: int) -> None:
        self._retries = retries
        self._workers: list[H] = []
        self._stillborn = 0

    @property
    def size(self) -> int:
        """How many workers there are now."""
        return len(self._workers)

    def map(
        self, jobs: Sequence[Job[R]], check: Check = lambda: None, hear: Hear = lambda number, words: None
    ) -> Iterator[R | Lost]:
        """The results in order."""
        round_ = Round(jobs, check, hear, self._retries)
        try:
            for number in range(len(jobs)):
                while number not in round_.answers:
                    self._begin(round_)
                    self._listen(round_)
                if number == len(jobs) - 1:
                    self._settle(round_)
                yield round_.result(number)
        finally:
            self._dismiss([worker for worker in self._workers if worker.job is not None or not worker.born])

    def _settle(self, round_: Round) -> None:
        """Sees to it that no worker computes any more, before the last result is given."""

    @abstractmethod
    def _room(self) -> int:
        """How many more jobs can be begun now."""

    @abstractmethod
    def _idle(self) -> H:
        """A worker without a job, where there is room."""

    @abstractmethod
    def _speaking(self) -> Sequence[H]:
        """Workers that have something to say, waited for; none if none can have."""

    def _begin(self, round_: Round) -> None:
        """Hands out jobs as long as there is room."""
        while (number := round_.next(self._room())) is not None:
            self._idle().begin(number, round_.jobs[number])

    def _listen(self, round_: Round) -> None:
        """Takes in what workers say, waiting for it.

        Raises:
            BaseException: no worker is busy, because `check` has asked to stop.
        """
        if round_.stopped and all(worker.job is None for worker in self._workers):
            round_.give_up()
        for worker in self._speaking():
            self._take(worker, worker.job, round_)

    def _take(self, worker: H, number: int | None, round_: Round) -> None:
        """Takes in one message, or the death of a worker."""
        match worker.receive():
            case Begun():
                self._stillborn = 0
            case Said(words) if number is not None:
                round_.hear(number, words)
            case Done() | Failed() as answer if number is not None:
                round_.answers[number] = answer
            case None:
                self._workers.remove(worker)
                self._lost(worker, number, round_)

    def _lost(self, worker: H, number: int | None, round_: Round) -> None:
        """Puts back the job of a dead worker.

        Raises:
            RuntimeError: too many workers died before they could begin anything.
        """
        how = worker.end()
        self._stillborn += not worker.born
        if self._stillborn >= _STILLBORN:
            raise RuntimeError(f"worker processes cannot start: {how}")
        if number is not None:
            round_.lost(number, how, counts=worker.begun)

    def _dismiss(self, workers: Sequence[H]) -> None:
        for worker in workers:
            self._workers.remove(worker)
            worker.end()


class Round:
    """The jobs of one call of `map`, and what has become of them."""

    def __init__(self, jobs: Sequence[Job[Any]], check: Check, hear: Hear, retries: int) -> None:
        self.jobs, self.hear = jobs, hear
        self.answers: dict[int, Done | Failed] = {}
        self._check, self._retries = check, retries
        self._waiting = deque(range(len(jobs)))
        self._losses: Counter[int] = Counter()
        self._stop: BaseException | None = None

    @property
    def waiting(self) -> int:
        """How many jobs are still to be begun."""
        return 0 if self.stopped else len(self._waiting)

    @property
    def stopped(self) -> bool:
        """Whether `check` has asked to stop."""
        return self._stop is not None

    def next(self, room: int) -> int | None:
        """The number of the job to begin; None without room, without jobs, or if `check` has asked to stop."""
        if room and self.waiting:
            try:
                self._check()
            except BaseException as error:
                self._stop = error
        return self._waiting.popleft() if room and self.waiting else None

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
