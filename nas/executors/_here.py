"""The pool without workers: jobs run in this process, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from nas.executors._context import Context
from nas.executors._pool import Check, Hear, Job, Lost, Pool, R, perform


class Here(Pool):
    """Computes each job when its result is asked for. A crash is a crash."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def map(
        self, jobs: Sequence[Job[R]], check: Check = lambda: None, hear: Hear = lambda number, words: None
    ) -> Iterator[R | Lost]:
        """The results in order."""
        for number, job in enumerate(jobs):
            check()
            yield perform(job, self._context, partial(hear, number))

    def close(self) -> None:
        """Nothing to end."""
