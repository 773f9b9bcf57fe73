"""Every block that a space can put at every place, and which of them each architecture uses, by matrix arithmetic.

Latency tables, cost tables and the supernet's shapes all come from this one enumeration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from searchspaces.architecture import Placement
from searchspaces.blocks._role import Block
from searchspaces.choice import Choice, Depth, forms, paths
from searchspaces.part import Shape
from searchspaces.space import Genes, SearchSpace

_ROWS = 4096
"""Rows that are looked up at once, so that what is between fits a cache."""
Units = npt.NDArray[np.int64]
"""For each architecture and slot the number of the unit that stands there, -1 where none does: [n, slots]."""


@dataclass(frozen=True)
class Unit:
    """A decided block for a given input shape: what a cost belongs to, wherever it stands."""

    part: Block
    shape: Shape


@dataclass
class Slot:
    """One place of the chain, with what can stand there."""

    path: str
    part: Any
    guards: tuple[tuple[int, frozenset[int]], ...]
    """The slot is used where each of these decisions has one of these options."""
    own: npt.NDArray[np.int64]
    """The decisions inside the slot's open block."""
    strides: npt.NDArray[np.int64]
    """Place values that turn the own decisions' options into one code."""
    unit: npt.NDArray[np.int64]
    """[shape, code] -> unit number."""
    after: npt.NDArray[np.int64]
    """[shape, code] -> number of the output shape."""

    @property
    def codes(self) -> int:
        """How many codes the own decisions have."""
        return self.unit.shape[1]


@dataclass
class Placements:
    """The units of a space and the slots in which they stand."""

    space: SearchSpace
    units: list[Unit] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)
    slots: list[Slot] = field(default_factory=list)
    placed: list[tuple[str, int]] = field(default_factory=list)
    """Each (slot path, unit number) that occurs."""

    def __post_init__(self) -> None:
        self._numbers: dict[Any, int] = {}
        entries: dict[tuple[str, int], dict[int, tuple[int, int]]] = {}
        self._walk(self.space.layers, "", {self._shape(self.space.input_shape)}, (), entries)
        for slot in self.slots:
            self._fill(slot, entries)

    def _shape(self, shape: Shape) -> int:
        """The number of a shape, new or known."""
        if shape not in self._numbers:
            self._numbers[shape] = len(self.shapes)
            self.shapes.append(shape)
        return self._numbers[shape]

    def _unit(self, unit: Unit) -> int:
        """The number of a unit, new or known."""
        if unit not in self._numbers:
            self._numbers[unit] = len(self.units)
            self.units.append(unit)
        return self._numbers[unit]

    def _walk(self, value: Any, path: str, shapes: set[int], guards: Any, entries: Any) -> set[int]:
        """Visits the slots of nested layers; returns the shapes that can leave them."""
        if isinstance(value, Depth):
            return self._walk_depth(value, path, shapes, guards, entries)
        if isinstance(value, tuple):
            for index, item in enumerate(value):
                shapes = self._walk(item, f"{path}.{index}" if path else str(index), shapes, guards, entries)
            return shapes
        return self._place(value, path, shapes, guards, entries)

    def _walk_depth(self, depth: Depth, path: str, shapes: set[int], guards: Any, entries: Any) -> set[int]:
        """A stage: shapes leave it after each depth that it can have."""
        if not isinstance(depth.count, Choice):
            return self._walk(depth.items[: depth.count], path, shapes, guards, entries)
        counts, number = depth.count.options, self.space.index[depth.count.path]
        leaving = set(shapes) if 0 in counts else set()
        for index, item in enumerate(depth.items):
            enough = frozenset(option for option, count in enumerate(counts) if count > index)
            shapes = self._walk(item, f"{path}.{index}", shapes, (*guards, (number, enough)), entries)
            leaving |= shapes if index + 1 in counts else set()
        return leaving

    def _place(self, part: Any, path: str, shapes: set[int], guards: Any, entries: Any) -> set[int]:
        """One slot: each form of its block at each shape that can reach it."""
        own = np.array(sorted(self.space.index[name] for name in paths(part)), dtype=np.int64)
        sizes = self.space.sizes[own]
        strides = np.concatenate([[1], np.cumprod(sizes)[:-1]]).astype(np.int64) if len(own) else own
        codes = int(np.prod(sizes)) if len(own) else 1
        empty = np.zeros((0, codes), dtype=np.int64)
        slot = Slot(path, part, guards, own, strides, empty, empty)
        self.slots.append(slot)
        leaving = set()
        for code, form in self._codes(slot):
            for shape in shapes:
                after = self._shape(form.output_shape(self.shapes[shape]))
                entry = (self._unit(Unit(form, self.shapes[shape])), after)
                entries.setdefault((path, shape), {})[code] = entry
                leaving.add(after)
        return leaving

    def _codes(self, slot: Slot) -> Iterator[tuple[int, Block]]:
        """The canonical code of each form of the slot's block."""
        names = [self.space.decisions[number].name for number in slot.own]
        for form, picks in forms(slot.part):
            yield int(sum(picks.get(n, 0) * stride for n, stride in zip(names, slot.strides, strict=True))), form

    def _fill(self, slot: Slot, entries: Any) -> None:
        """Turns the slot's entries into lookup arrays, and notes what stands there."""
        slot.unit = np.full((len(self.shapes), slot.unit.shape[1]), -1, dtype=np.int64)
        slot.after = slot.unit.copy()
        for shape in range(len(self.shapes)):
            for code, (unit, after) in entries.get((slot.path, shape), {}).items():
                slot.unit[shape, code], slot.after[shape, code] = unit, after
        self.placed += [(slot.path, int(unit)) for unit in np.unique(slot.unit[slot.unit >= 0])]

    def of(self, matrix: Genes) -> Units:
        """The units of canonical rows: [n, decisions] -> [n, slots], -1 where a slot is not used."""
        units = np.empty((len(matrix), len(self.slots)), dtype=np.int64)
        for start in range(0, len(matrix), _ROWS):
            self._of(np.ascontiguousarray(matrix[start : start + _ROWS].T), units[start : start + _ROWS])
        return units

    def _of(self, columns: Genes, units: Units) -> None:
        """Fills in the units of a few rows, whose decisions are [decisions, n].

        `shape` is the place of the shape's entries in the slot's tables.
        """
        shape = np.zeros(columns.shape[1], dtype=np.int64)
        for number, (slot, (unit, after)) in enumerate(zip(self.slots, self._tables, strict=True)):
            entry = shape * slot.codes
            for stride, decision in zip(slot.strides, slot.own, strict=True):
                entry += columns[decision] * stride
            used = self._used(number, columns)
            found = unit.take(entry)
            units[:, number] = found if used is None else np.where(used, found, -1)
            if after is not None:
                shape = after.take(entry) if used is None else np.where(used, after.take(entry), shape)

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
        """For each slot its units and the shapes behind it by entry; None where all keep their shape."""
        tables = []
        for slot in self.slots:
            known = slot.after >= 0
            keeps = (slot.after == np.arange(len(slot.after))[:, None])[known].all()
            tables.append((slot.unit.reshape(-1), None if keeps else slot.after.reshape(-1)))
        return tables

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
