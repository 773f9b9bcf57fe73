"""Task: what a network is to learn, and how it is judged."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from searchspaces.part import Part


class Task(Part):
    """Names the data and the way of learning from it; `load` makes it a runtime object."""

    @abstractmethod
    def load(self) -> Any:
        """The task with its data in memory; the same object each time for equal tasks of one process.

        That is a `LoadedTask`, by which networks learn, or a `Table`, in which they are looked up.

        Raises:
            DataError: the data is missing or not as expected.
        """
