"""Task: what a network is to learn, and how it is judged."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from searchspaces.part import Part

if TYPE_CHECKING:
    from nas.tasks._loaded import LoadedTask


class Task(Part):
    """Names the data and the way of learning from it; `load` makes it a runtime object."""

    @abstractmethod
    def load(self) -> LoadedTask:
        """The task with its data in memory; the same object each time for equal tasks of one process.

        Raises:
            DataError: the data is missing or not as expected.
        """
