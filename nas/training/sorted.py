"""SortedNet: random nested sub-networks with accumulated gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from nas.training._levels import at_levels, fields, level
from nas.training._role import Trainee, Training

if TYPE_CHECKING:
    from torch import Tensor

    from nas.tasks._loaded import TensorBatch


class Sorted(Training):
    """Sub-networks that are nested in each dimension (SortedNet: Valipour et al., 2023, arXiv:2309.00255, section 3).

    A dimension is a field with ordered decisions, such as depth or width. A sub-network has one level in each
    dimension, the same at all places; a step draws several of them, adds up their gradients and updates once. Which
    sub-network serves a budget needs no search: the largest level that fits. Losses are against the labels alone.
    """

    levels: Annotated[int, Field(ge=2)] = 4
    """Sub-networks in each dimension."""
    networks: Annotated[int, Field(ge=1)] = 2
    """Sub-networks whose gradients are accumulated in a step."""

    def losses(self, trainee: Trainee, batch: TensorBatch, rng: np.random.Generator) -> Iterator[Tensor]:
        """The loss of each sub-network against the labels."""
        inputs, targets = batch
        for _ in range(self.networks):
            levels = {name: level(rng, self.levels) for name in fields(trainee)}
            yield trainee.task.loss(trainee.subnet(at_levels(trainee, levels, rng))(inputs), targets)
