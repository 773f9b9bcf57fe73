"""The walk through a space with laterals: the states remember what waits to be added."""

from __future__ import annotations

from typing import Any

from searchspaces.blocks.sum import Sum
from searchspaces.choice import paths
from searchspaces.graph import Graph
from searchspaces.lateral import Lateral
from searchspaces.part import Shape
from searchspaces.slots import Guards, Slot, State, Walk
from searchspaces.space import SearchSpace


class LateralWalk(Walk):
    """Visits all places of a space whose layers may be laterals.

    Behind the block of a lateral, a state holds that block's output shape as one of its `inputs`, and the options that
    led to it, until the sum: what the layers beside it give depends on the same decisions.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.waiting: list[frozenset[str]] = []
        """The choices in the block of each lateral that is being walked through, the innermost last."""
        super().__init__(space)

    def layer(self, value: Any, path: str, states: set[int], guards: Guards) -> set[int]:
        """Visits the slots of nested layers; returns the states that can leave them.

        Raises:
            ValueError: a graph stands inside a lateral, or what is to be added has different shapes.
        """
        if isinstance(value, Lateral):
            return self._lateral(value, path, states, guards)
        if isinstance(value, Graph) and self.waiting:
            raise ValueError(f"{path}: a graph cannot stand inside a lateral")
        return super().layer(value, path, states, guards)

    def _lateral(self, lateral: Lateral, path: str, states: set[int], guards: Guards) -> set[int]:
        """The block, the layers beside it, and the sum."""
        beside = Slot(f"{path}.lateral", lateral.block, guards, place="input")
        states = self.put(beside, states, _current)
        number = len(self.slots) - 1
        self.waiting.append(paths(lateral.block))
        states = self.layer(lateral.layers, path, states, guards)
        self.waiting.pop()
        for state in map(self.states.__getitem__, states):
            if state.inputs[-1] != _current(state):
                raise ValueError(f"{path}: {state.inputs[-1]} cannot be added to {_current(state)}")
        reads = (len(self.slots) - 1, number)
        return self.put(Slot(f"{path}.sum", Sum(inputs=2), guards, reads), states, _current)

    def _behind(self, slot: Slot, state: State, shape: Shape, picks: dict[str, int]) -> State:
        """The state behind a slot, with what still waits to be added."""
        behind = super()._behind(slot, state, shape, picks)
        if slot.place != "chain":
            return behind
        known = frozenset[str]().union(*self.waiting)
        kept = frozenset(pick for pick in state.picks if pick[0] in known)
        return State(behind.latest, state.inputs[: len(self.waiting)], behind.picks | kept)


def _current(state: State) -> Shape:
    """The shape of the chain's current output."""
    return state.latest[-1]
