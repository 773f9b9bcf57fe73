"""Pool: workers that take jobs; what a job is, and what every pool promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Self, TypeVar

import torch

from nas.executors._context import Context

R = TypeVar("R")
Check = Callable[[], None]
Tell = Callable[[str], None]
Hear = Callable[[int, str], None]
"""Takes a job's number and a few words on what it is doing."""


@dataclass(frozen=True)
class Lost:
    """In place of a result: the job's workers were lost, each time that it was begun."""

    reason: str


class Job(ABC, Generic[R]):
    """A piece of work that can be pickled, and whose result depends on nothing but itself and the context."""

    @abstractmethod
    def run(self, context: Context, tell: Tell) -> R:
        """The result, which can be pickled; `tell` takes a few words on what is going on."""


class Pool(ABC):
    """Workers for the jobs of one context."""

    @abstractmethod
    def map(
        self, jobs: Sequence[Job[R]], check: Check = lambda: None, hear: Hear = lambda number, words: None
    ) -> Iterator[R | Lost]:
        """The results in the order of the jobs, each as soon as it and all before it are there.

        Between two calls, and once the last result is taken, no worker computes.

        Args:
            jobs: what to compute.
            check: is called before a job is begun. When it raises, no more jobs are begun; the results of those that
                were are still given, and then what it raised is raised.
            hear: is told what jobs are doing.

        Raises:
            Exception: what a job raised, in its place; the jobs behind it are given up.
            TypeError: a job or the context cannot be sent to another process.
            RuntimeError: workers cannot start.
        """

    @abstractmethod
    def close(self) -> None:
        """Ends the workers; a later `map` starts others."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def perform(job: Job[R], context: Context, tell: Tell) -> R:
    """The result of a job, the same in whichever process and after whatever other jobs."""
    with reproducible(context.experiment.seed):
        return job.run(context, tell)


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """One thread, and random numbers from the seed; both are as before afterwards.

    Sums over several threads are rounded in another order, so results would depend on the number of threads.
    """
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
