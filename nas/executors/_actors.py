"""The pool of actors on a Ray cluster."""

from __future__ import annotations

from collections.abc import Sequence

import ray

from nas.executors._actor import RemoteWorker
from nas.executors._cluster import Shared
from nas.executors._context import Context
from nas.executors._crew import Crew, Round

_PATIENCE_SECONDS = 120
_SETTLING_SECONDS = 20


class Actors(Crew[RemoteWorker]):
    """Actors, as many as are asked for and have a place, that share one copy of weights and data on each machine."""

    def __init__(self, context: Context, address: str | None, workers: int | None, retries: int) -> None:
        super().__init__(retries)
        self._context, self._address, self._workers_asked = context, address, workers
        self._shared: Shared | None = None

    def close(self) -> None:
        """Ends the actors, and Ray where it was started for them."""
        self._dismiss(list(self._workers))
        if self._shared is not None:
            self._shared.close()
            self._shared = None

    def _begin(self, round_: Round) -> None:
        """Asks for actors while there are more jobs than actors, and hands jobs to those that have a place."""
        if self._shared is None:
            self._shared = Shared(self._context, self._address, self._workers_asked)
        while self.size < self._most and sum(worker.job is None for worker in self._workers) < round_.waiting:
            self._workers.append(RemoteWorker(self._shared.content))
        super()._begin(round_)

    def _settle(self, round_: Round) -> None:
        """Waits for actors that are starting, and gives up those that do not come: starting is computing."""
        for _ in range(_SETTLING_SECONDS):
            coming = {worker.expected: worker for worker in self._workers if not worker.born}
            if not coming or self.size > self._most:
                break
            for expected in ray.wait(list(coming), num_returns=len(coming), timeout=1)[0]:
                self._take(coming[expected], None, round_)
        self._dismiss([worker for worker in self._workers if not worker.born])

    @property
    def _most(self) -> int:
        """As many actors as are asked for, up to the cluster's processor cores now."""
        cores = int(ray.cluster_resources().get("CPU", 0))
        return max(1, cores if self._workers_asked is None else min(cores, self._workers_asked))

    def _room(self) -> int:
        return sum(worker.idle for worker in self._workers)

    def _idle(self) -> RemoteWorker:
        return next(worker for worker in self._workers if worker.idle)

    def _speaking(self) -> Sequence[RemoteWorker]:
        """Those that are busy, or wait for a place.

        Raises:
            RuntimeError: the cluster has no place for a single one.
        """
        listening = {worker.expected: worker for worker in self._workers if not worker.idle}
        waiting = all(worker.job is None for worker in self._workers)
        ready, _ = ray.wait(list(listening), timeout=_PATIENCE_SECONDS if waiting else None)
        if not ready:
            raise RuntimeError(f"the Ray cluster had no place for a worker in {_PATIENCE_SECONDS} s; is it too busy?")
        return [listening[expected] for expected in ready]
