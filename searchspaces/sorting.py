"""Sorting: the important hidden channels first, so that narrower sub-networks, whose slices lead, have the best."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import nn

from searchspaces.placements import Placements, Unit
from searchspaces.skeleton import skeleton
from searchspaces.supernet import Supernet

Axes = dict[str, int]
"""By key of a shared parameter: the axis of the hidden channels. The first one reads them, the others make them."""


@runtime_checkable
class Sortable(Protocol):
    """A module with hidden channels that can stand in any order without changing what it computes."""

    def hidden_axes(self) -> dict[str, int]:
        """By parameter name: the axis of the hidden channels, first in the parameter that reads them at last.

        Empty where their order matters after all.
        """


@torch.no_grad()
def sort_hidden(supernet: Supernet, placements: Placements) -> int:
    """Puts hidden channels in the order of importance, the most important first; returns how many places it sorted.

    A channel's importance is the sum of magnitudes of the weights that read it (Once-for-All, arXiv:1908.09791,
    section 3.3). Sub-networks with all hidden channels of a place, the largest among them, compute what they did.
    """
    found = [(path, axes) for path, units in placements.by_path.items() for axes in sortable(units)]
    for path, axes in found:
        _sort([(supernet.whole(path, key), axis) for key, axis in axes.items()])
    return len(found)


def sortable(units: list[Unit]) -> list[Axes]:
    """The axes of each module at one place whose hidden channels can be sorted in all blocks that share it."""
    axes: dict[str, Axes] = {}
    refused: set[str] = set()
    for unit in units:
        block = skeleton(unit.part, unit.shape)
        keys = {name: role.key for name, role in block.roles.items()}
        for name, module in block.module.named_modules():
            if isinstance(module, Sortable):
                prefix = f"{name}." if name else ""
                owner = _owner(name, next(key for parameter, key in keys.items() if parameter.startswith(prefix)))
                found = {keys[prefix + parameter]: axis for parameter, axis in module.hidden_axes().items()}
                axes[owner] = {**axes.get(owner, {}), **found}
                refused |= set() if found else {owner}
    return [found for owner, found in axes.items() if owner not in refused]


def _owner(name: str, key: str) -> str:
    """The key of a module, from its name and the key of any parameter inside."""
    return "/".join(key.split("/")[: name.count(".") + 2 if name else 1])


def _sort(parameters: list[tuple[nn.Parameter, int]]) -> None:
    """Permutes the hidden channels of the parameters that share them, of which the first reads them."""
    reader, axis = parameters[0]
    importance = reader.abs().movedim(axis, 0).flatten(1).sum(1)
    order = importance.argsort(descending=True, stable=True)
    for parameter, along in parameters:
        parameter.copy_(parameter.index_select(along, order))
