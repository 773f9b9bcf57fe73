"""Architecture: a network description in which everything is decided."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from searchspaces.blocks._role import Block
from searchspaces.blocks.concatenation import Concatenation
from searchspaces.blocks.skip_connection import SkipConnection
from searchspaces.blocks.sum import Sum
from searchspaces.graph import HISTORY, Graph, edge_names
from searchspaces.lateral import Lateral
from searchspaces.parse import parse
from searchspaces.part import Shape, describe

if TYPE_CHECKING:
    from torch import nn

    from searchspaces.wiring import Wires

Layers = tuple[Any, ...]
"""A nested tuple of blocks, graphs and laterals: the chain of a network, its stages as inner tuples."""


class Placement(NamedTuple):
    """A block at one place of a network."""

    path: str
    part: Block
    shape: Shape
    """Shape of one sample of the input, of each one where there are several."""


@dataclass(frozen=True)
class Architecture:
    """A chain of decided blocks and graphs of them. It maps [b *input_shape] to the last block's output."""

    input_shape: Shape
    layers: Layers

    @cached_property
    def id(self) -> str:
        """Twelve hexadecimal digits that name this architecture."""
        text = json.dumps(self.describe(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def describe(self) -> dict[str, Any]:
        """Plain JSON data that `Architecture.parse` reads back."""
        return {"input_shape": list(self.input_shape), "layers": describe(self.layers)}

    @classmethod
    def parse(cls, data: dict[str, Any]) -> Architecture:
        """The architecture that plain data describes.

        Raises:
            DescriptionError: the data is not a valid description.
        """
        return cls(tuple(data["input_shape"]), _parse_layers(data["layers"], ("layers",)))

    def blocks(self) -> list[Placement]:
        """The blocks in the order of execution, each with its path and input shape."""
        return self.traced().placements

    def traced(self) -> Trace:
        """The blocks in the order of execution, and what each of them reads."""
        trace = Trace(self.input_shape)
        trace.layer(self.layers, "", (0,))
        return trace

    def build(self, quantize: bool = True) -> nn.Sequential:
        """The standalone network with freshly initialized parameters.

        Args:
            quantize: prepare fake quantization where a block's policy asks for it.
        """
        from searchspaces.wiring import network

        trace = self.traced()
        modules = [(part, part.build(shape)) for _, part, shape in trace.placements]
        return network(trace.wires, [part.quantization.prepare(m) if quantize else m for part, m in modules])


@dataclass
class Trace:
    """Lays a network out in the order of execution.

    Values are numbered: 0 is the network's input, n the output of block n - 1. What the chain hands on are the latest
    of them, the current one last: a single one behind a block, two behind a graph.
    """

    input_shape: Shape
    placements: list[Placement] = field(default_factory=list)
    sources: list[tuple[int, ...]] = field(default_factory=list)
    paths: list[int] = field(default_factory=list)
    """Numbers of the blocks that lead into a sum inside a graph, but for identities: what drop-path may leave out."""

    @property
    def wires(self) -> Wires:
        """The values that each block reads."""
        return tuple(self.sources)

    def layer(self, item: Any, path: str, latest: tuple[int, ...]) -> tuple[int, ...]:
        """Places a layer; returns the latest values behind it."""
        if isinstance(item, tuple):
            for index, inner in enumerate(item):
                latest = self.layer(inner, f"{path}.{index}" if path else str(index), latest)
            return latest
        if isinstance(item, Graph):
            return (latest[-1], self.graph(item, path, latest))
        if isinstance(item, Lateral):
            beside = self.place(f"{path}.lateral", item.block, latest[-1])
            return (self.place(f"{path}.sum", Sum(inputs=2), self.layer(item.layers, path, latest)[-1], beside),)
        return (self.place(path, item, latest[-1]),)

    def graph(self, graph: Graph, path: str, latest: tuple[int, ...]) -> int:
        """Places the blocks of a graph and the sums between them; returns the value of its output."""
        nodes = []
        current = self.shape(latest[-1])
        for number, part in enumerate(graph.inputs):
            source = latest[entering(number, len(graph.inputs), len(latest))]
            fitted = part and part.fitted(self.shape(source), current)
            nodes.append(self.place(f"{path}.input{number}", fitted, source) if fitted else source)
        for target, edges in enumerate(graph.nodes, len(graph.inputs)):
            named = zip(edge_names(edges, target), edges, strict=True)
            ends = [self.place(f"{path}.{name}", edge.block, nodes[edge.source]) for name, edge in named]
            alone = len(ends) == 1
            if not alone:
                self.paths += [end - 1 for end, edge in zip(ends, edges, strict=True) if not _identity(edge.block)]
            nodes.append(ends[0] if alone else self.place(f"{path}.sum{target}", Sum(inputs=len(ends)), *ends))
        if not graph.outputs:
            return nodes[-1]
        joined = Concatenation(inputs=len(graph.outputs))
        return self.place(f"{path}.concatenation", joined, *(nodes[number] for number in graph.outputs))

    def place(self, path: str, part: Block, *sources: int) -> int:
        """Adds a block that reads these values; returns the number of its output.

        Raises:
            ValueError: the values have different shapes.
        """
        shapes = {self.shape(source) for source in sources}
        if len(shapes) > 1:
            raise ValueError(f"{path}: blocks of different output shapes meet: {sorted(shapes)}")
        self.placements.append(Placement(path, part, shapes.pop()))
        self.sources.append(sources)
        return len(self.placements)

    def shape(self, value: int) -> Shape:
        """The shape of one sample of a value."""
        if value == 0:
            return self.input_shape
        _, part, shape = self.placements[value - 1]
        return part.output_shape(shape)


def _identity(block: Block) -> bool:
    """Whether a block hands on what it reads."""
    return isinstance(block, SkipConnection) and block.stride == 1


def entering(number: int, inputs: int, latest: int) -> int:
    """Which of the latest values an input of a graph is; the oldest where there are fewer of them than inputs."""
    assert inputs <= HISTORY
    return max(number - inputs, -latest)


def _parse_layers(data: Any, path: tuple[str | int, ...]) -> Any:
    if isinstance(data, list):
        return tuple(_parse_layers(item, (*path, index)) for index, item in enumerate(data))
    if isinstance(data, dict) and data.get("kind") == Lateral.kind():
        block = parse(Block, data["block"], at=(*path, "block"))
        return Lateral(block=block, layers=_parse_layers(data["layers"], (*path, "layers")))
    graph = isinstance(data, dict) and data.get("kind") == Graph.kind()
    return parse(Graph if graph else Block, data, at=path)
