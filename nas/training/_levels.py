"""Sub-networks whose ordered decisions stand at common levels, so that the smaller are contained in the larger."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nas.training._role import Trainee
from searchspaces.architecture import Architecture


def fields(trainee: Trainee) -> list[str]:
    """The fields of the ordered decisions: the dimensions in which sub-networks are nested."""
    return sorted({decision.field for decision in trainee.placements.space.decisions if decision.ordered})


def at_levels(trainee: Trainee, levels: Mapping[str, float], rng: np.random.Generator) -> Architecture:
    """The architecture whose ordered decisions all stand at the level of their field.

    Decisions whose options are not numbers, such as the kind of an operator, have no order and are drawn at random.

    Args:
        trainee: whose space it is of.
        levels: by field, from 0 (the smallest option) to 1 (the largest).
        rng: draws the others.
    """
    row = rng.integers(0, trainee.placements.space.sizes)
    for number, (decision, order) in enumerate(zip(trainee.placements.space.decisions, trainee.orders, strict=True)):
        if decision.ordered:
            row[number] = order[round(levels[decision.field] * (len(order) - 1))]
    return trainee.decoded(row)


def level(rng: np.random.Generator, count: int) -> float:
    """One of so many equally spaced levels; the largest alone where there is one."""
    return float(rng.integers(count) / (count - 1)) if count > 1 else 1.0
