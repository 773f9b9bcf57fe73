"""A cell drawn as a graph: its nodes from top to bottom, an arc for each edge, a box for each operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

from nas.report.blocks import arithmetic, details, operator
from nas.report.svg import text
from nas.report.wording import escape, words
from searchspaces.architecture import Placement
from searchspaces.blocks._role import Block
from searchspaces.graph import Graph, edge_names
from searchspaces.networks._operations import name_of

ROW = 24
"""Height of one operation."""
_NODE, _LEFT, _RIGHT = 92, 112, 344
"""Places of the nodes, and of both ends of the boxes."""
_RADIUS = 9
_CHARACTERS = 36


class CellDrawing:
    """Draws downwards; `y` is where the next element goes.

    Args:
        graph: the cell.
        path: its place in the network.
        blocks: the network's blocks by path.
        css: the class of a kind.
        y: where the drawing begins.
    """

    def __init__(
        self, graph: Graph, path: str, blocks: Mapping[str, Placement], css: Callable[[str], str], y: float
    ) -> None:
        self.path, self.blocks, self.css, self.y = path, blocks, css, y
        self.parts: list[str] = []
        self.nodes: list[float] = []
        """The height of each node so far."""
        for number in range(len(graph.inputs)):
            self._input(number, len(graph.inputs))
        for target, edges in enumerate(graph.nodes, len(graph.inputs)):
            names = edge_names(edges, target)
            self._node(str(target), [edge.source for edge in edges], [f"{edge.source}: " for edge in edges], names)
        if graph.outputs:
            self._node("out", list(graph.outputs), ["side by side: "], ["concatenation"])

    def _input(self, number: int, inputs: int) -> None:
        """An input node, with the block behind it."""
        label = "current output" if number == inputs - 1 else "output before it"
        block = self.blocks.get(f"{self.path}.input{number}")
        if block is None:
            self.parts.append(text(_LEFT, self.y + ROW / 2 + 4, label, "detail"))
            self.y += ROW
        else:
            self._box(block, f"{label}: ")
        self._circle(str(number), self.y - ROW / 2)

    def _node(self, name: str, sources: list[int], starts: list[str], names: list[str]) -> None:
        """A node with its operations, and the arcs from where they read."""
        top = self.y
        for start, edge in zip(starts, names, strict=True):
            self._box(self.blocks[f"{self.path}.{edge}"], start)
        y = (top + self.y) / 2
        for index, source in enumerate(sources):
            self._arc(self.nodes[source], y, len(self.nodes) - source + 0.4 * sources[:index].count(source))
        self._circle(name, y)

    def _circle(self, name: str, y: float) -> None:
        self.nodes.append(y)
        self.parts.append(f'<circle class="node" cx="{_NODE}" cy="{y:.1f}" r="{_RADIUS}"/>')
        self.parts.append(text(_NODE, y + 3.5, name, "shape middle"))

    def _arc(self, start: float, end: float, hops: float) -> None:
        """An arc from one node to another, the wider the further."""
        near, far = _NODE - _RADIUS, max(12.0, _NODE - _RADIUS - 13 * hops)
        curve = f"M{near} {start:.1f}C{far:.1f} {start:.1f} {far:.1f} {end:.1f} {near - 1} {end:.1f}m-4 -3l4 3l-4 3"
        self.parts.append(f'<path class="arrow wire" d="{curve}"/>')

    def _box(self, block: Placement, start: str) -> None:
        """A box with an operation's kind and settings."""
        kind = operator(block.part).kind()
        label = ", ".join([start + words(kind), *details(block.part), *filter(None, [arithmetic(block.part)])])
        named = ", ".join([start + _name(block.part), *filter(None, [arithmetic(block.part)])])
        shown = named if len(named) <= _CHARACTERS else f"{named[: _CHARACTERS - 1]}…"
        y = self.y + 2
        self.parts.append(
            f'<g class="{self.css(kind)}"><title>{escape(label)}</title>'
            f'<rect class="box" x="{_LEFT}" y="{y:.1f}" width="{_RIGHT - _LEFT}" height="{ROW - 4}" rx="5"/>'
            f'<rect class="edge" x="{_LEFT}" y="{y + 4:.1f}" width="4" height="{ROW - 12}" rx="2"/>'
            f"{text(_LEFT + 12, y + ROW / 2 + 2, shown, 'detail')}</g>"
        )
        self.y += ROW


def _name(block: Block) -> str:
    """The published name of an operation, else its kind and settings."""
    try:
        return name_of(block).replace("_", " ")
    except ValueError:
        return ", ".join([words(operator(block).kind()), *details(block)])


def graphs(layers: object, path: str = "") -> dict[str, Graph]:
    """The graphs of nested layers by their paths."""
    if isinstance(layers, Graph):
        return {path: layers}
    if not isinstance(layers, tuple):
        return {}
    inner = (graphs(item, f"{path}.{index}" if path else str(index)) for index, item in enumerate(layers))
    return {name: graph for found in inner for name, graph in found.items()}


def repeats(cells: Mapping[str, Graph]) -> set[str]:
    """The paths of graphs that have the same nodes as the one before them."""
    return {path for (_, before), (path, graph) in pairwise(cells.items()) if graph.nodes == before.nodes}
