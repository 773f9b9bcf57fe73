"""In-place distillation: the largest sub-network teaches the others on the same batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from nas.training._role import Trainee
from searchspaces.architecture import Architecture

if TYPE_CHECKING:
    from torch import Tensor

    from nas.tasks._loaded import TensorBatch


def in_place(trainee: Trainee, batch: TensorBatch, others: Sequence[Architecture]) -> Iterator[Tensor]:
    """The largest's loss against the labels, then those of the others against its predictions.

    Yu and Huang, arXiv:1903.05134, section 3.2. Each of the others counts once, the largest not among them.
    """
    inputs, targets = batch
    _, largest = trainee.extremes
    logits = trainee.subnet(largest)(inputs)
    yield trainee.task.loss(logits, targets)
    students = {student.id: student for student in others if student.id != largest.id}
    for student in students.values():
        yield trainee.task.distillation_loss(trainee.subnet(student)(inputs), logits.detach())
