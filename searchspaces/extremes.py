"""The largest and the smallest architecture of a space."""

from __future__ import annotations

from typing import Any

import numpy as np

from searchspaces.cost import cost
from searchspaces.placements import Placements
from searchspaces.space import Genes, SearchSpace

_BASES = 32


def extremes(placements: Placements) -> tuple[Genes, Genes]:
    """The rows of the smallest and of the largest architecture, by the `orders` of the options."""
    rows = orders(placements)
    smallest, largest = (np.array([order[pick] for order in rows], dtype=np.int64)[None] for pick in (0, -1))
    return placements.space.canonical(smallest)[0], placements.space.canonical(largest)[0]


def orders(placements: Placements) -> list[list[int]]:
    """The options of each decision from small to large.

    They are ordered by what the network then costs on average over the same random architectures: MACs first, then
    bytes of weights; equal ones by value.
    """
    macs = placements.tabulate(lambda unit: cost(unit.part, unit.shape).macs)
    weights = placements.tabulate(
        lambda unit: cost(unit.part, unit.shape).parameters * unit.part.quantization.stored_bits
    )
    return [_ordered(placements, number, (macs, weights)) for number in range(len(placements.space.decisions))]


def _ordered(placements: Placements, number: int, tables: tuple[Any, ...]) -> list[int]:
    """The options of a decision from small to large."""
    space = placements.space
    bases = _active_bases(space, number)

    def size(option: int) -> tuple[Any, ...]:
        rows = bases.copy()
        rows[:, number] = option
        units = placements.of(space.canonical(rows))
        value = space.decisions[number].options[option]
        numeric = value if isinstance(value, int | float) else 0
        return (*(float(table[units].sum(1).mean()) for table in tables), numeric, -option)

    return sorted(range(len(space.decisions[number].options)), key=size)


def _active_bases(space: SearchSpace, number: int) -> Genes:
    """Random rows in which a decision is active."""
    bases = space.sample(np.random.default_rng(0), _BASES)
    child = number
    while space.decisions[child].parent >= 0:
        decision = space.decisions[child]
        allowed = np.array(sorted(decision.parent_options))
        wrong = ~np.isin(bases[:, decision.parent], allowed)
        bases[wrong, decision.parent] = allowed[-1]
        child = decision.parent
    return bases
