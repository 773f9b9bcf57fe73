"""AttentiveNAS: the sandwich rule with sub-networks from the Pareto front, or from as far as possible behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from nas.training._distillation import in_place
from nas.training._role import Trainee, Training
from searchspaces.architecture import Architecture

if TYPE_CHECKING:
    from torch import Tensor

    from nas.tasks._loaded import TensorBatch

_POOL = 64
"""Random architectures among which those that cost as much as asked for are found."""


class Attentive(Training):
    """The sandwich rule whose random sub-networks are chosen (AttentiveNAS: Wang et al., 2020, arXiv:2011.09011).

    For each, a cost in MACs is drawn as random architectures have it; of several candidates that cost about as much the
    one of least loss (BestUp) or of greatest loss (WorstUp) is trained (section 3.2, equation 5). The predictor of
    accuracy is the loss of the candidate on the batch at hand, one of the two that the paper compares: it needs no
    training of its own, and nothing to be kept for a resumption.
    """

    random: Annotated[int, Field(ge=0)] = 2
    """Chosen sub-networks in each step, beside the largest and the smallest."""
    candidates: Annotated[int, Field(ge=1, le=_POOL)] = 3
    """Sub-networks of about one cost of which one is trained."""
    toward: Literal["best", "worst"] = "best"
    """Which of them."""

    def losses(self, trainee: Trainee, batch: TensorBatch, rng: np.random.Generator) -> Iterator[Tensor]:
        """The largest's loss against the labels, then those of the others against the largest's predictions."""
        smallest, _ = trainee.extremes
        chosen = [self._chosen(trainee, batch, rng) for _ in range(self.random)]
        yield from in_place(trainee, batch, [smallest, *chosen])

    def _chosen(self, trainee: Trainee, batch: TensorBatch, rng: np.random.Generator) -> Architecture:
        """The best or worst of the candidates."""
        sign = 1 if self.toward == "best" else -1
        return min(alike(trainee, rng, self.candidates), key=lambda found: sign * _loss(trainee, found, batch))


def alike(trainee: Trainee, rng: np.random.Generator, count: int) -> list[Architecture]:
    """A random architecture, and random ones with about as many MACs."""
    rows = trainee.placements.space.sample(rng, _POOL)
    macs = trainee.macs(rows)
    return [trainee.decoded(row) for row in rows[np.argsort(np.abs(macs - macs[0]), kind="stable")[:count]]]


def agreed(loss: float) -> float:
    """The loss by which is chosen, which processes that train together agree on."""
    return loss


def _loss(trainee: Trainee, architecture: Architecture, batch: TensorBatch) -> float:
    """The loss of a sub-network on a batch, of which it learns nothing."""
    import torch

    with torch.no_grad():
        return agreed(trainee.task.loss(trainee.subnet(architecture)(batch[0]), batch[1]).item())
