"""Strict fairness: each step trains every option of every decision."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from nas.training._role import Trainee, Training
from searchspaces.space import Genes

if TYPE_CHECKING:
    from torch import Tensor

    from nas.tasks._loaded import TensorBatch


class Fair(Training):
    """Strict fairness (FairNAS: Chu et al., 2019, arXiv:1907.01845, algorithm 1).

    Each step trains as many sub-networks as the decision with the most options has: the n-th takes the n-th option of a
    random permutation of each decision's options, so that every option is trained once; then the weights are updated,
    once for all of them. The paper's decisions all have as many options; one with fewer goes through further
    permutations, so that its options are trained equally often but for one. A decision below an option that not every
    sub-network takes is trained as often as that option is.
    """

    def losses(self, trainee: Trainee, batch: TensorBatch, rng: np.random.Generator) -> Iterator[Tensor]:
        """The loss of each sub-network against the labels."""
        inputs, targets = batch
        for row in fair_rows(trainee.placements.space.sizes, rng):
            yield trainee.task.loss(trainee.subnet(trainee.decoded(row))(inputs), targets)


def fair_rows(sizes: Genes, rng: np.random.Generator) -> Genes:
    """Rows [most options, decisions] that hold every option of each decision equally often, but for one.

    Args:
        sizes: the number of options of each decision.
        rng: draws the permutations.
    """
    most = int(sizes.max(initial=1))
    rows = np.empty((most, len(sizes)), dtype=np.int64)
    for number, size in enumerate(sizes):
        rounds = [rng.permutation(size) for _ in range(-(-most // size))]
        rows[:, number] = np.concatenate(rounds)[:most]
    return rows
