"""Slots: the places of a space's blocks, in the order of execution, with what can stand at each of them.

A slot's blocks depend on the shapes that reach it, and these on what stands before: the walk carries the set of all
states in which it can be reached. Inside a graph only the blocks behind its inputs and its last block change the state,
for all edges into a node give one shape.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from searchspaces.architecture import entering
from searchspaces.blocks._role import Block
from searchspaces.blocks.concatenation import Concatenation
from searchspaces.blocks.sum import Sum
from searchspaces.choice import Choice, Subset, forms, paths
from searchspaces.graph import Graph, edge_names
from searchspaces.part import Shape
from searchspaces.space import SearchSpace

Guards = tuple[tuple[int, frozenset[int]], ...]
"""Decisions, each with those of its options under which something is used."""
Place = Literal["chain", "input", "inside", "output"]
"""Where a slot stands: in the chain, behind an input of a graph, further inside, or as the last one of a graph."""


class State(NamedTuple):
    """The shapes that the next block may read."""

    latest: tuple[Shape, ...]
    """Of the chain's latest outputs, the current one last."""
    inputs: tuple[Shape, ...] = ()
    """Behind the input blocks of the graph that is being walked through."""
    picks: frozenset[tuple[str, int]] = frozenset()
    """Choices and their options behind these shapes, as far as input blocks to come depend on them as well."""


Read = Callable[[State], Shape]


@dataclass(frozen=True)
class Unit:
    """A decided block for a given input shape: what a cost belongs to, wherever it stands."""

    part: Block
    shape: Shape


@dataclass
class Slot:
    """One place of the network, with what can stand there."""

    path: str
    part: Any
    guards: Guards
    """The slot is used where each of these decisions has one of these options."""
    reads: tuple[int, ...] = (-1,)
    """Numbers of the slots that it reads; -1 for the current output of the chain, -2 for the one before it."""
    place: Place = "chain"
    own: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """The decisions inside the slot's open block."""
    strides: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """Place values that turn the own decisions' options into one code."""
    unit: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 1), dtype=np.int64))
    """[state, code] -> unit number."""
    after: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 1), dtype=np.int64))
    """[state, code] -> number of the state behind the slot."""

    @property
    def codes(self) -> int:
        """How many codes the own decisions have."""
        return self.unit.shape[1]

    @cached_property
    def keeps(self) -> bool:
        """Whether the state behind the slot is always the one before it."""
        known = self.after >= 0
        return bool((self.after == np.arange(len(self.after))[:, None])[known].all())

    @cached_property
    def steers(self) -> bool:
        """Whether the state behind the slot depends on the decisions that the slot depends on."""
        greatest = self.after.max(axis=1, keepdims=True, initial=-1)
        varies = bool(((self.after >= 0) & (self.after != greatest)).any())
        return varies or (bool(self.guards) and not self.keeps)


class Walk:
    """Visits all places of a space: its slots, the units that can stand there, and the states between them."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.units: list[Unit] = []
        self.states: list[State] = []
        self.slots: list[Slot] = []
        self._numbers: dict[Any, int] = {}
        self._entries: list[dict[tuple[int, int], tuple[int, int]]] = []
        self.pending = Counter(_input_choices(space.layers))
        """How many input blocks to come depend on each choice."""
        self.layer(space.layers, "", {self._number(State((space.input_shape,)), self.states)}, ())
        for slot, entries in zip(self.slots, self._entries, strict=True):
            self._fill(slot, entries)

    def _number(self, item: Any, known: list[Any]) -> int:
        """The number of a unit or state, new or known."""
        if item not in self._numbers:
            self._numbers[item] = len(known)
            known.append(item)
        return self._numbers[item]

    def layer(self, value: Any, path: str, states: set[int], guards: Guards) -> set[int]:
        """Visits the slots of nested layers; returns the states that can leave them."""
        if isinstance(value, Subset):
            return self._stage(value, path, states, guards)
        if isinstance(value, tuple):
            for index, item in enumerate(value):
                states = self.layer(item, f"{path}.{index}" if path else str(index), states, guards)
            return states
        if isinstance(value, Graph):
            return _GraphWalk(self, value, path, guards).visit(states)
        return self.put(Slot(path, value, guards), states, lambda state: state.latest[-1])

    def _stage(self, stage: Subset, path: str, states: set[int], guards: Guards) -> set[int]:
        """A stage: states leave it behind each set of items that it can have."""
        if not isinstance(stage.chosen, Choice):
            return self.layer(stage.pick(stage.chosen), path, states, guards)
        reached = [states for _ in stage.chosen.options]
        for index, item in enumerate(stage.items):
            using = stage.using(index)
            before = set[int]().union(*(reached[option] for option in using))
            states = self.layer(item, f"{path}.{index}", before, (*guards, *self.guard(stage, index)))
            reached = [states if option in using else other for option, other in enumerate(reached)]
        return set[int]().union(*reached)

    def guard(self, subset: Subset, index: int) -> Guards:
        """When an item of a subset is used: no guard where it always is."""
        using = subset.using(index)
        return () if len(using) == len(subset.chosen.options) else ((self.space.index[subset.chosen.path], using),)

    def put(self, slot: Slot, states: set[int], read: Read) -> set[int]:
        """Adds a slot: each form of its block at each shape that it can read. Returns the states that can leave it."""
        own = np.array(sorted(self.space.index[name] for name in paths(slot.part)), dtype=np.int64)
        slot.own, slot.strides = own, np.cumprod([1, *self.space.sizes[own]])[:-1].astype(np.int64)
        entries: dict[tuple[int, int], tuple[int, int]] = {}
        for code, form, picks in self._codes(slot):
            for number in states:
                state = self.states[number]
                if all(picks.get(path, option) == option for path, option in state.picks):
                    shape = read(state)
                    block = form.fitted(shape, state.latest[-1]) if slot.place == "input" else form
                    after = self._number(self._behind(slot, state, block.output_shape(shape), picks), self.states)
                    entries[number, code] = self._number(Unit(block, shape), self.units), after
        self.slots.append(slot)
        self._entries.append(entries)
        return {after for _, after in entries.values()}

    def _behind(self, slot: Slot, state: State, shape: Shape, picks: dict[str, int]) -> State:
        """The state behind a slot that gives a shape under some options."""
        if slot.place == "inside":
            return state
        all_picks = frozenset({*state.picks, *picks.items()})
        if slot.place == "input":
            return State(state.latest, (*state.inputs, shape), all_picks)
        latest = (shape,) if slot.place == "chain" else (state.latest[-1], shape)
        return State(latest, (), frozenset(pick for pick in all_picks if self.pending[pick[0]]))

    def _codes(self, slot: Slot) -> Iterator[tuple[int, Block, dict[str, int]]]:
        """The canonical code of each form of the slot's block, and the options that make it so."""
        names = [self.space.decisions[number].name for number in slot.own]
        for form, picks in forms(slot.part):
            yield int(sum(picks.get(n, 0) * stride for n, stride in zip(names, slot.strides, strict=True))), form, picks

    def _fill(self, slot: Slot, entries: dict[tuple[int, int], tuple[int, int]]) -> None:
        """Turns the slot's entries into lookup arrays."""
        codes = int(np.prod(self.space.sizes[slot.own]))
        slot.unit = np.full((len(self.states), codes), -1, dtype=np.int64)
        slot.after = slot.unit.copy()
        for entry, (unit, after) in entries.items():
            slot.unit[entry], slot.after[entry] = unit, after


class _GraphWalk:
    """Visits the places of one graph."""

    def __init__(self, walk: Walk, graph: Graph, path: str, guards: Guards) -> None:
        self.walk, self.graph, self.path, self.guards = walk, graph, path, guards
        self.nodes: list[tuple[int, Read]] = []
        """What each node's value is: the slot that gives it, and its shape in a state."""

    def visit(self, states: set[int]) -> set[int]:
        """Adds all slots; returns the states that can leave the last one."""
        for number, part in enumerate(self.graph.inputs):
            states = self._input(number, part, states)
        outputs, last = self.graph.outputs, len(self.graph.inputs) + len(self.graph.nodes) - 1
        for target, edges in enumerate(self.graph.nodes, len(self.graph.inputs)):
            leaving = self._node(edges, target, states, "inside" if outputs or target < last else "output")
        if not outputs:
            return leaving
        joined = Slot(f"{self.path}.concatenation", Concatenation(inputs=len(outputs)), self.guards, place="output")
        return self._join(joined, states, [self.nodes[number] for number in outputs])

    def _input(self, number: int, part: Any, states: set[int]) -> set[int]:
        """An input node, and the block behind it if there is one."""
        inputs = len(self.graph.inputs)

        def older(state: State) -> Shape:
            return state.latest[entering(number, inputs, len(state.latest))]

        if part is None:
            self.nodes.append((number - inputs, older))
            return states
        position = sum(before is not None for before in self.graph.inputs[:number])
        slot = Slot(f"{self.path}.input{number}", part, self.guards, (number - inputs,), "input")
        self.walk.pending.subtract(paths(part))
        self.nodes.append((len(self.walk.slots), lambda state: state.inputs[position]))
        return self.walk.put(slot, states, older)

    def _node(self, edges: Any, target: int, states: set[int], place: Place) -> set[int]:
        """The edges of an inner node, and their sum where there are several."""
        subset = edges if isinstance(edges, Subset) else Subset(tuple(range(len(edges))), edges)
        if not isinstance(subset.chosen, Choice):
            subset = Subset(tuple(range(len(subset.chosen))), subset.pick(subset.chosen))
        total = self._total(subset, target)
        ends, leaving = [], states
        for index, name in enumerate(edge_names(subset.items, target)):
            guards = self.walk.guard(subset, index) if isinstance(subset.chosen, Choice) else ()
            source, read = self.nodes[subset.items[index].source]
            where: Place = place if total is None else "inside"
            slot = Slot(f"{self.path}.{name}", subset.items[index].block, (*self.guards, *guards), (source,), where)
            leaving = self.walk.put(slot, states, read)
            ends.append((len(self.walk.slots) - 1, _behind(subset.items[index].block, read)))
        if total is not None:
            slot = Slot(f"{self.path}.sum{target}", total, self.guards, place=place)
            leaving = self._join(slot, states, ends)
            ends = [(len(self.walk.slots) - 1, ends[0][1])]
        self.nodes.append(ends[0])
        return leaving

    def _total(self, subset: Subset, target: int) -> Any:
        """The open sum of a node; None where it has one edge.

        Raises:
            ValueError: the node has one edge under some of its options.
        """
        if not isinstance(subset.chosen, Choice):
            return Sum(inputs=len(subset.items)) if len(subset.items) > 1 else None
        counts = tuple(len(subset.indices(chosen)) for chosen in subset.chosen.options)
        if min(counts) < 2:
            raise ValueError(
                f"{self.path}: node {target} needs at least two edges under each option of {subset.chosen.path}"
            )
        return Sum(inputs=counts[0]) if len(set(counts)) == 1 else Sum.opened(inputs=Choice(subset.chosen.path, counts))

    def _join(self, slot: Slot, states: set[int], ends: list[tuple[int, Read]]) -> set[int]:
        """Adds a slot that reads several others, whose shapes must be the same.

        Raises:
            ValueError: they are not.
        """
        slot.reads = tuple(number for number, _ in ends)
        for state in map(self.walk.states.__getitem__, states):
            shapes = {read(state) for _, read in ends}
            if len(shapes) > 1:
                raise ValueError(f"{slot.path}: blocks of different output shapes meet: {sorted(shapes)}")
        return self.walk.put(slot, states, ends[0][1])


def _input_choices(value: Any) -> Iterator[str]:
    """The choices in the input blocks of all graphs of nested layers, as often as they occur."""
    if isinstance(value, Subset):
        yield from _input_choices(value.items)
    elif isinstance(value, tuple):
        for item in value:
            yield from _input_choices(item)
    elif isinstance(value, Graph):
        for part in value.inputs:
            yield from paths(part)


def _behind(block: Any, read: Read) -> Read:
    """The shape behind an open block, which all of its forms must give."""
    known: dict[State, Shape] = {}

    def shape(state: State) -> Shape:
        if state not in known:
            found = {form.output_shape(read(state)) for form, _ in forms(block, dict(state.picks))}
            if len(found) > 1:
                raise ValueError(f"the blocks of one edge give different shapes: {sorted(found)}")
            known[state] = found.pop()
        return known[state]

    return shape
