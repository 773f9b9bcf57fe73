"""Worker processes on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.executors._role import Executor

if TYPE_CHECKING:
    from nas.executors._context import Context
    from nas.executors._pool import Pool


class Local(Executor):
    """Worker processes on this machine; with 0 or 1 of them, this process itself."""

    def pool(self, context: Context) -> Pool:
        """Processes that share one copy of the weights and the data."""
        from hardware.device import usable_processor_cores
        from nas.executors._here import Here
        from nas.executors._processes import Processes

        workers = usable_processor_cores() if self.workers is None else self.workers
        return Processes(context, workers, self.retries) if workers > 1 else Here(context)
