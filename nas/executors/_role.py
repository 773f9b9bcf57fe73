"""Executor: where the evaluations of a search and the making of its models are computed."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from pydantic import Field

from searchspaces.part import Part

if TYPE_CHECKING:
    from nas.executors._context import Context
    from nas.executors._pool import Pool


class Executor(Part):
    """Spreads independent jobs over workers. Which executor, and how many workers, changes no result."""

    workers: int | None = Field(None, ge=0)
    """Processes that compute, each with one thread; as many as there are processor cores if not given."""
    retries: int = Field(2, ge=0)
    """How often a job is begun again whose worker was lost."""

    @abstractmethod
    def pool(self, context: Context) -> Pool:
        """Workers for jobs in this context, which is handed to each of them once; they start with the first job."""
