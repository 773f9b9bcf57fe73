"""MatFormer: one granularity for the whole network in each step."""

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


class Nested(Training):
    """Each step trains one of a few granularities (MatFormer: Devvrit et al., 2023, arXiv:2310.07707, section 3).

    The paper's granularities are widths of the feed-forward networks, each the beginning of the next, equal in all
    layers. Here every ordered decision takes part. What mixes granularities over places (Mix'n'Match) is never trained
    as such, and is found by the search.
    """

    granularities: Annotated[int, Field(ge=1)] = 4

    def losses(self, trainee: Trainee, batch: TensorBatch, rng: np.random.Generator) -> Iterator[Tensor]:
        """The loss of one granularity against the labels."""
        inputs, targets = batch
        levels = dict.fromkeys(fields(trainee), level(rng, self.granularities))
        yield trainee.task.loss(trainee.subnet(at_levels(trainee, levels, rng))(inputs), targets)
