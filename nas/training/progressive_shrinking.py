"""Progressive shrinking: the largest network first, then ever smaller ones, taught by it."""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Annotated, Self

import numpy as np
from pydantic import Field, model_validator

from nas.training._role import Trainee, Training
from nas.training._schedule import schedule
from searchspaces.architecture import Architecture
from searchspaces.part import Part

if TYPE_CHECKING:
    from torch import Tensor

    from nas.tasks._loaded import TensorBatch


class Phase(Part):
    """A part of a training, at whose beginning decisions open."""

    opens: tuple[str, ...] = ()
    """Fields whose decisions open, such as `kernel`; what no phase names opens with the second one."""
    options: Annotated[int, Field(ge=2)] | None = None
    """How many options of each open, the largest ones; all if not given. A later phase may open further ones."""
    share: Annotated[float, Field(gt=0)] = 1.0
    """Its length in relation to that of the others."""
    networks: Annotated[int, Field(ge=1)] = 1
    """Random sub-networks in each step."""
    rate: Annotated[float, Field(gt=0)] = 1.0
    """Its learning rate over the training's."""


ONCE_FOR_ALL = (
    Phase(share=2.0),
    Phase(opens=("resolution", "kernel")),
    Phase(opens=("depth",), networks=2, rate=0.25),
    Phase(opens=("expansion", "ratio"), networks=4, rate=0.25),
    Phase(opens=("width",), networks=4, rate=0.25),
)
"""The paper's order; numbers of networks and ratios of learning rates are those of the authors' `train_ofa_net.py`."""


class ProgressiveShrinking(Training):
    """Progressive shrinking (Once-for-All: Cai et al., 2020, arXiv:1908.09791, section 3.3).

    The first phase trains the largest network. Each further one opens decisions, whose options are then drawn
    independently and uniformly; what is not open yet stays at its largest option. From the second phase on sub-networks
    learn from the labels and from the largest network as the first phase left it. Hidden channels are sorted by
    importance before their number first varies. Each phase has a warm-up, a cosine and an optimizer of its own.

    Unlike in the paper, a smaller kernel is the centre of the larger one as it is, without a transformation; channels
    between blocks are not sorted; a resolution opens like any other field.
    """

    phases: Annotated[tuple[Phase, ...], Field(min_length=1)] = ONCE_FOR_ALL
    distillation: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the loss against the teacher, beside that against the labels."""
    sorts: tuple[str, ...] = ("expansion", "ratio", "width")
    """Fields by which the number of hidden channels varies."""

    @model_validator(mode="after")
    def _long_enough(self) -> Self:
        """Every phase has an epoch."""
        if 0 < self.epochs < len(self.phases):
            raise ValueError(f"{self.epochs} epochs are too few for {len(self.phases)} phases")
        return self

    @property
    def starts(self) -> list[int]:
        """The first epoch of each phase."""
        spare, whole = self.epochs - len(self.phases), sum(phase.share for phase in self.phases)
        before = [0.0, *accumulate(phase.share for phase in self.phases)][:-1]
        return [number + int(spare * share / whole + 1e-9) for number, share in enumerate(before)]

    def begin(self, trainee: Trainee, epoch: int) -> bool:
        """At the beginning of a phase: keeps the teacher and sorts channels when it is time; a new optimizer."""
        from searchspaces.sorting import sort_hidden

        if epoch == 0 or epoch not in self.starts:
            return False
        phase = self.starts.index(epoch)
        if phase == 1:
            trainee.teacher = trainee.supernet.frozen()
        if phase == next((n for n, found in enumerate(self.phases) if {*found.opens} & {*self.sorts}), 1):
            sort_hidden(trainee.supernet, trainee.placements)
        return True

    def rate(self, progress: float) -> float:
        """The learning rate when this share of all steps is done: that of its phase."""
        epoch = progress * self.epochs
        phase = max(0, bisect.bisect_left(self.starts, epoch - 1e-6) - 1)
        start, end = ([*self.starts, self.epochs][number] for number in (phase, phase + 1))
        within = min(1.0, (epoch - start) / (end - start))
        return self.learning_rate * self.phases[phase].rate * schedule(within, self.warmup)

    def losses(self, trainee: Trainee, batch: TensorBatch, rng: np.random.Generator) -> Iterator[Tensor]:
        """The loss of each sub-network against the labels, and against the teacher if there is one."""
        inputs, targets = batch
        phase, task = bisect.bisect(self.starts, trainee.epoch) - 1, trainee.task
        soft = self._taught(trainee, inputs) if phase else None
        for _ in range(self.phases[phase].networks):
            logits = trainee.subnet(self.draw(trainee, phase, rng))(inputs)
            loss = task.loss(logits, targets)
            yield loss if soft is None else loss + self.distillation * task.distillation_loss(logits, soft)

    def _taught(self, trainee: Trainee, inputs: Tensor) -> Tensor:
        """The teacher's logits [b k], with statistics of the batch as in the authors' code."""
        import torch

        assert trainee.teacher is not None
        trainee.teacher.progress = self.starts[1] / self.epochs
        with torch.no_grad():
            logits: Tensor = trainee.teacher.subnet(trainee.extremes[1]).train()(inputs)
        return logits

    def draw(self, trainee: Trainee, phase: int, rng: np.random.Generator) -> Architecture:
        """A sub-network of what is open in a phase."""
        decisions = zip(trainee.placements.space.decisions, trainee.orders, strict=True)
        allowed = [order[-self._open(decision.field, len(order), phase) :] for decision, order in decisions]
        return trainee.decoded([options[rng.integers(len(options))] for options in allowed])

    def _open(self, field: str, options: int, phase: int) -> int:
        """How many of a field's options are open in a phase, the largest ones."""
        named = [(number, found.options) for number, found in enumerate(self.phases) if field in found.opens]
        stages = named or [(min(1, len(self.phases) - 1), None)]
        opened = [most or options for number, most in stages if number <= phase]
        return min(options, opened[-1]) if opened else 1
