"""Expected cost under a distribution over choices: differentiable, from the same table that costs single networks.

The hardware term of FBNet (arXiv:1812.03443, equation 2) and ProxylessNAS (arXiv:1812.00332, equation 2), for blocks
whose places and input shapes depend on choices too: a pass along the slots carries the joint distribution of the state,
which is the shapes that reach the next block, and of those decisions behind it that later blocks depend on as well,
such as a stage's depth and width. A cell's decisions leave the state as it is: none of them is carried.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from searchspaces.placements import Placements, Slot

if TYPE_CHECKING:
    from torch import Tensor

Numbers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def expected(placements: Placements, values: Tensor, probabilities: Sequence[Tensor]) -> Tensor:
    """The expected sum of a value over a network's blocks, where decisions are independent of each other.

    Args:
        placements: of the space.
        values: [units], such as the contributions of a latency table; differentiable too.
        probabilities: for each decision the probabilities of its options [options], as if it were active.

    Returns:
        A scalar.
    """
    import torch

    total, carried = values.new_zeros(()), list[int]()
    joint = torch.zeros(len(placements.states), 1, dtype=values.dtype)
    joint[0] = 1.0
    for place, slot in enumerate(placements.slots):
        later = {number for other in placements.slots[place + 1 :] for number in _involved(other)}
        steering = _involved(slot) if slot.steers else []
        for number in [n for n in steering if n in later and n not in carried]:
            joint = (joint[:, :, None] * probabilities[number]).flatten(1)
            carried.append(number)
        known = _combinations(placements, carried)
        used = _used(placements, slot, known, probabilities).expand(joint.shape[1])
        states, codes = np.nonzero(slot.unit >= 0)
        share = joint[states] * _chances(placements, slot, known, probabilities)[codes] * used
        total = total + (share * values[slot.unit[states, codes], None]).sum()
        joint = (joint * (1 - used)).index_add(0, torch.from_numpy(slot.after[states, codes]), share)
        joint = _summed_out(placements, joint, carried, later)
        carried = [number for number in carried if number in later]
    return total


def _involved(slot: Slot) -> list[int]:
    """The decisions that a slot depends on."""
    return list(dict.fromkeys([*(number for number, _ in slot.guards), *map(int, slot.own)]))


def _combinations(placements: Placements, carried: Sequence[int]) -> dict[int, Numbers]:
    """The option of each carried decision in each combination of theirs [combinations], the last varying fastest."""
    sizes = tuple(int(placements.space.sizes[number]) for number in carried)
    grids = np.indices(sizes).reshape(len(sizes), math.prod(sizes))
    return dict(zip(carried, grids, strict=True))


def _used(placements: Placements, slot: Slot, known: dict[int, Numbers], probabilities: Sequence[Tensor]) -> Tensor:
    """The probability that the slot is used: [combinations], or [1]."""
    import torch

    used = torch.ones(1, dtype=torch.float64)
    for number, admitted in slot.guards:
        inside = torch.from_numpy(np.isin(np.arange(placements.space.sizes[number]), list(admitted)))
        used = used * (inside[known[number]] if number in known else probabilities[number][inside].sum())
    return used


def _chances(placements: Placements, slot: Slot, known: dict[int, Numbers], probabilities: Sequence[Tensor]) -> Tensor:
    """The probability of each code of the slot's block: [codes, combinations or 1]; of no account if not canonical."""
    import torch

    options, active = _digits(placements, slot)
    chances = torch.ones(len(options), 1, dtype=torch.float64)
    for column, number in enumerate(map(int, slot.own)):
        if number in known:
            chosen = torch.from_numpy(options[:, column, None] == known[number]).to(chances.dtype)
        else:
            chosen = probabilities[number][torch.from_numpy(options[:, column])][:, None]
        chances = chances * torch.where(torch.from_numpy(active[:, column, None]), chosen, torch.ones_like(chosen))
    return chances


def _digits(placements: Placements, slot: Slot) -> tuple[Numbers, Mask]:
    """For each code the options [codes, own] of the slot's decisions, and which of these are active."""
    space = placements.space
    options = np.arange(slot.unit.shape[1])[:, None] // slot.strides % space.sizes[slot.own]
    column = {int(number): place for place, number in enumerate(slot.own)}
    active = np.ones_like(options, dtype=bool)
    for place, number in enumerate(slot.own):
        decision = space.decisions[number]
        if decision.parent in column:
            parent = column[decision.parent]
            active[:, place] = active[:, parent] & np.isin(options[:, parent], list(decision.parent_options))
    return options, active


def _summed_out(placements: Placements, joint: Tensor, carried: Sequence[int], later: set[int]) -> Tensor:
    """The joint distribution [states, combinations] without the decisions that no later block needs."""
    grid = joint.unflatten(1, [int(placements.space.sizes[number]) for number in carried]) if carried else joint
    gone = [axis for axis, number in enumerate(carried, 1) if number not in later]
    return (grid.sum(dim=gone) if gone else grid).flatten(1) if len(gone) < len(carried) else joint.sum(1, keepdim=True)
