"""Image classification."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from pydantic import Field

from nas.data._augmentation import Augmentation
from nas.data._role import Dataset, Splits
from nas.tasks._role import Task

if TYPE_CHECKING:
    from nas.tasks._loaded_classification import LoadedClassification


class Classification(Task):
    """Tell which class an image belongs to; judged by the fraction of wrong answers."""

    data: Dataset
    label_smoothing: float = Field(0.1, strict=True, ge=0, lt=1, description="share of a label spread over all classes")
    augmentation: Augmentation = Augmentation()

    def load(self) -> LoadedClassification:
        """The task with its data; tasks on equal data share it."""
        return _load(self)


@functools.lru_cache(maxsize=4)
def _load(task: Classification) -> LoadedClassification:
    """The runtime object of a task."""
    from nas.tasks._loaded_classification import LoadedClassification

    return LoadedClassification(_splits(task.data), task.augmentation, task.label_smoothing)


@functools.lru_cache(maxsize=2)
def _splits(data: Dataset) -> Splits:
    """The splits of a data set."""
    return data.load()
