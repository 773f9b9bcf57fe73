"""Graph: a layer whose blocks form a directed acyclic graph, such as a cell; it stands in a chain like a block.

Only the wiring is new. Every block inside is placed, shared, costed and measured by itself, as in a chain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import Field, model_validator

from searchspaces.blocks._role import Block
from searchspaces.part import Part

HISTORY = 2
"""Outputs that a graph can read: the current one, and the one before it."""

Number = Annotated[int, Field(ge=0)]


class Edge(Part):
    """What a node adds to its sum: a block that reads another node."""

    source: Number
    """Number of the node: the graph's inputs come first."""
    block: Block

    @classmethod
    def kind(cls) -> str:
        """`edge`."""
        return "edge"


class Graph(Part):
    """Nodes, each the sum of its incoming edges.

    The inputs are the latest outputs of the chain, the current one last. A graph leaves the current output as the
    previous one to the next graph; behind any other block both are that block's output. An input or a block of an edge
    keeps its place by the numbers of its nodes, so that edges can be left out of a node (`Subset`) while a space is
    open. All edges into a node give one shape, whatever their choices.
    """

    inputs: Annotated[tuple[Block | None, ...], Field(min_length=1, max_length=HISTORY)] = (None,)
    """A block behind each input, or None for the input as it is."""
    nodes: Annotated[tuple[tuple[Edge, ...], ...], Field(min_length=1)]
    """The edges into each inner node."""
    outputs: tuple[Number, ...] = ()
    """The nodes whose channels are concatenated; the last node alone where there are none."""

    @classmethod
    def kind(cls) -> str:
        """`graph`."""
        return "graph"

    @model_validator(mode="after")
    def _acyclic(self) -> Self:
        """Every edge comes from an earlier node."""
        for target, edges in enumerate(self.nodes, len(self.inputs)):
            if not edges or any(edge.source >= target for edge in edges):
                raise ValueError(f"node {target} needs edges, each from a node before it")
        last = len(self.inputs) + len(self.nodes) - 1
        if len(self.outputs) == 1 or any(number > last for number in self.outputs):
            raise ValueError(f"outputs must be none or several of the nodes up to {last}, not {self.outputs}")
        return self


def edge_names(edges: Sequence[Edge], target: int) -> list[str]:
    """The names of a node's edges, `0-2` from node 0 to node 2; `0-2b` for a second one between the two."""
    seen: Counter[int] = Counter()
    names = []
    for edge in edges:
        names.append(f"{edge.source}-{target}{'b' * seen[edge.source]}")
        seen[edge.source] += 1
    return names
