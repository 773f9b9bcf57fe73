"""The pool of worker processes on this machine."""

from __future__ import annotations

import atexit
import os
from collections.abc import Sequence
from multiprocessing.connection import wait

from nas.executors._context import Context
from nas.executors._crew import Crew
from nas.executors._parcel import Parcel
from nas.executors._worker import Worker


class Processes(Crew[Worker]):
    """Worker processes that share one copy of the weights and the data."""

    def __init__(self, context: Context, workers: int, retries: int) -> None:
        super().__init__(retries)
        self._context, self._most = context, workers
        self._parcel: Parcel | None = None
        self._owner = os.getpid()

    def close(self) -> None:
        """Ends the workers and lets go of what they share."""
        if self._owner != os.getpid():
            return
        self._dismiss(list(self._workers))
        if self._parcel is not None:
            self._parcel.close()
            self._parcel = None
            atexit.unregister(self.close)

    def _room(self) -> int:
        return self._most - sum(worker.job is not None for worker in self._workers)

    def _idle(self) -> Worker:
        """One that waits, else a new one."""
        return next((worker for worker in self._workers if worker.job is None), None) or self._started()

    def _started(self) -> Worker:
        """A new worker."""
        if self._parcel is None:
            self._parcel = Parcel(self._context)
            atexit.register(self.close)
        worker = Worker(self._parcel)
        self._workers.append(worker)
        return worker

    def _speaking(self) -> Sequence[Worker]:
        busy = {worker.connection: worker for worker in self._workers if worker.job is not None}
        return [busy[connection] for connection in wait(list(busy))]  # type: ignore[index]
