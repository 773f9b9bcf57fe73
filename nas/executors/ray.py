"""Workers on a Ray cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.executors._role import Executor

if TYPE_CHECKING:
    from nas.executors._context import Context
    from nas.executors._pool import Pool


class Ray(Executor):
    """Actors on a Ray cluster: on several machines, or on this one alone.

    Between machines of one kind, results are those of `local`. Each needs this project installed, and the folder of
    the run on a file system that all of them share, since workers write the files of models.
    """

    runtimes = ("ray",)
    extra = "ray"

    address: str | None = None
    """Of a running cluster, HOST:PORT, or auto for the one of this machine; if not given, the run starts its own."""

    def pool(self, context: Context) -> Pool:
        """Actors that share one copy of the weights and the data on each machine."""
        self.check()
        from nas.executors._actors import Actors

        return Actors(context, self.address, self.workers, self.retries)
