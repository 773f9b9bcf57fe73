"""Every block that a space can put at every place, and which of them each architecture uses, by matrix arithmetic.

Latency tables, cost tables and the supernet's shapes all come from this one enumeration.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
import numpy.typing as npt

from searchspaces.architecture import Placement
from searchspaces.lateral_walk import LateralWalk
from searchspaces.slots import Slot, Unit
from searchspaces.space import Genes, SearchSpace

__all__ = ["Placements", "Slot", "Unit", "Units"]

_ROWS = 4096
"""Rows that are looked up at once, so that what is between fits a cache."""
Units = npt.NDArray[np.int64]
"""For each architecture and slot the number of the unit that stands there, -1 where none does: [n, slots]."""


class Placements:
    """The units of a space and the slots in which they stand.

    Attributes:
        units: every block that can stand anywhere, at its input shape.
        states: the shapes that the blocks behind a place may read.
        slots: every place, in the order of execution.
        placed: each (slot path, unit number) that occurs.
    """

    def __init__(self, space: SearchSpace) -> None:
        walk = LateralWalk(space)
        self.space, self.units, self.states, self.slots = space, walk.units, walk.states, walk.slots
        self.placed = [(slot.path, int(unit)) for slot in self.slots for unit in np.unique(slot.unit[slot.unit >= 0])]

    def of(self, matrix: Genes) -> Units:
        """The units of canonical rows: [n, decisions] -> [n, slots], -1 where a slot is not used."""
        units = np.empty((len(matrix), len(self.slots)), dtype=np.int64)
        for start in range(0, len(matrix), _ROWS):
            self._of(np.ascontiguousarray(matrix[start : start + _ROWS].T), units[start : start + _ROWS])
        return units

    def _of(self, columns: Genes, units: Units) -> None:
        """Fills in the units of a few rows, whose decisions are [decisions, n].

        `state` is the place of the state's entries in the slot's tables.
        """
        state = np.zeros(columns.shape[1], dtype=np.int64)
        for number, (slot, (unit, after)) in enumerate(zip(self.slots, self._tables, strict=True)):
            entry = state * slot.codes
            for stride, decision in zip(slot.strides, slot.own, strict=True):
                entry += columns[decision] * stride
            used = self._used(number, columns)
            found = unit.take(entry)
            units[:, number] = found if used is None else np.where(used, found, -1)
            if after is not None:
                state = after.take(entry) if used is None else np.where(used, after.take(entry), state)

    def _used(self, number: int, columns: Genes) -> npt.NDArray[np.bool_] | None:
        """Where a slot is used; None means everywhere."""
        used = None
        for decision, allowed in self._guards[number]:
            found = allowed.take(columns[decision])
            used = found if used is None else used & found
        return used

    @cached_property
    def _guards(self) -> list[list[tuple[int, npt.NDArray[np.bool_]]]]:
        """For each slot its guards: the decision, and by option whether the slot is used."""
        sizes = self.space.sizes
        return [[(n, np.isin(np.arange(sizes[n]), list(options))) for n, options in slot.guards] for slot in self.slots]

    @cached_property
    def _tables(self) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64] | None]]:
        """For each slot its units and the states behind it by entry; None where all keep their state."""
        return [(slot.unit.reshape(-1), None if slot.keeps else slot.after.reshape(-1)) for slot in self.slots]

    @cached_property
    def by_path(self) -> dict[str, list[Unit]]:
        """What can stand at each path."""
        found: dict[str, list[Unit]] = {}
        for path, unit in self.placed:
            found.setdefault(path, []).append(self.units[unit])
        return found

    def placements(self) -> list[Placement]:
        """Every block at every place where it can stand."""
        return [Placement(path, self.units[unit].part, self.units[unit].shape) for path, unit in self.placed]

    def tabulate(self, function: Callable[[Unit], float]) -> npt.NDArray[np.float64]:
        """A value for each unit, and 0 for the absent one at the end: index it with `of(matrix)`."""
        return np.array([*map(function, self.units), 0.0])
