"""The sandwich rule with in-place distillation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from nas.training._distillation import in_place
from nas.training._role import Trainee, Training

if TYPE_CHECKING:
    from torch import Tensor

    from nas.tasks._loaded import TensorBatch


class Sandwich(Training):
    """Each step trains the largest, the smallest and random sub-networks (Yu and Huang, arXiv:1903.05134, section 3).

    The largest learns from the labels, the others from its predictions on the same batch (in-place distillation).
    """

    random: Annotated[int, Field(ge=0)] = 2
    """Random sub-networks in each step."""

    def losses(self, trainee: Trainee, batch: TensorBatch, rng: np.random.Generator) -> Iterator[Tensor]:
        """The largest's loss against the labels, then those of the others against the largest's predictions."""
        smallest, _ = trainee.extremes
        yield from in_place(trainee, batch, [smallest, *trainee.sample(rng, self.random)])
