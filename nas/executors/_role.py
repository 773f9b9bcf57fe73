"""Executor: where the evaluations of a search and the making of its models are computed."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from hardware.backends._role import require
from searchspaces.part import Part

if TYPE_CHECKING:
    from nas.executors._context import Context
    from nas.executors._pool import Pool


class Executor(Part):
    """Spreads independent jobs over workers. Which executor, and how many workers, changes no result."""

    runtimes: ClassVar[tuple[str, ...]] = ()
    """Python packages that it needs."""
    extra: ClassVar[str] = ""
    """The extra of this project that installs them."""

    workers: int | None = Field(None, ge=0)
    """Processes that compute, each with one thread; as many as there are processor cores if not given."""
    retries: int = Field(2, ge=0)
    """How often a job is begun again whose worker was lost."""

    def check(self) -> None:
        """Finds out whether it can be used here.

        Raises:
            UnavailableError: with the reason and its mend.
        """
        require(self.kind(), self.runtimes, self.extra)

    @abstractmethod
    def pool(self, context: Context) -> Pool:
        """Workers for jobs in this context, which is handed to each of them once; they start with the first job."""
