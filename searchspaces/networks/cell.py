"""Networks of two repeated cells: the spaces of NASNet and DARTS, and their genotypes."""

from __future__ import annotations

from itertools import combinations, combinations_with_replacement
from typing import Annotated, Any, cast

from pydantic import Field

from searchspaces.architecture import Architecture, Layers
from searchspaces.blocks.convolution import Convolution
from searchspaces.blocks.pooled_classifier import PooledClassifier
from searchspaces.blocks.preprocessing import Preprocessing
from searchspaces.choice import Choice, Depth, Subset, decide, rebuild, variants
from searchspaces.graph import Edge, Graph
from searchspaces.networks._genotype import Genotype, Pairs
from searchspaces.networks._operations import Name, edge, name_of, quantized, scaled
from searchspaces.networks._role import Network, Signature, StageDepth, Width
from searchspaces.quantization._role import QuantizationPolicy
from searchspaces.quantization.none import NoQuantization

INPUTS = 2
DARTS: tuple[Name, ...] = (
    "skip_connect",
    "max_pool_3x3",
    "avg_pool_3x3",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
"""The operations of DARTS (arXiv:1806.09055, section 3.1) but `none`, which no discrete cell has."""


class Cell(Network):
    """Stem, stages of normal cells with a reduction cell between two of them, head.

    NASNet (arXiv:1707.07012, section 3) and DARTS (arXiv:1806.09055, section 2.1). A cell reads the outputs of the two
    cells before it. Each of its inner nodes is the sum of two operations on two nodes before it; its output are the
    channels of all inner nodes. A reduction cell has stride 2 at its inputs and twice the channels. All normal cells of
    a network are the same but for their weights, as are all reduction cells. DARTS's networks of 8 and of 20 cells have
    stages of 2 and of 6 normal cells; without a stage that always has one there is no normal cell to decide on, which
    is refused.
    """

    filters: Width = 16
    """Channels of each inner node in the first stage."""
    stages: Annotated[tuple[StageDepth, ...], Field(min_length=1)] = (2, 2, 2)
    """Normal cells in each stage."""
    nodes: Annotated[int, Field(ge=1)] = 4
    """Inner nodes of a cell."""
    operations: Annotated[tuple[Name, ...], Field(min_length=1)] = DARTS
    """What can stand on an edge; NASNet's list has other convolutions and pools."""
    repeated: Annotated[bool, Field(strict=True)] = False
    """Both operations of a node may read the same node, as in NASNet."""
    stem: Annotated[int, Field(ge=1)] = 3
    """Channels of the stem over `filters`."""
    quantization: QuantizationPolicy = NoQuantization()
    """Of every block."""

    def layers(self, signature: Signature) -> Layers:
        """[stem, cells, reduction cell, cells, ..., classifier]."""
        return self.around({kind: self._nodes(kind) for kind in ("normal", "reduce")}, signature)

    def around(self, nodes: dict[str, Any], signature: Signature) -> Layers:
        """The layers of cells with these nodes: `normal` and `reduce`."""
        stem = Convolution.opened(width=scaled(self.filters, self.stem), activation="none")
        layers: list[Any] = [quantized(stem, self.quantization)]
        for number, depth in enumerate(self.stages):
            width = scaled(self.filters, 2**number)
            if number:
                layers.append(self._cell(nodes["reduce"], width))
            layers.append(Depth(depth, (self._cell(nodes["normal"], width),) * max(variants(depth))))
        return (*layers, quantized(PooledClassifier(classes=signature.outputs), self.quantization))

    def architecture(self, genotype: Genotype, signature: Signature) -> Architecture:
        """The network of this family with the cells of a genotype.

        The family's operations do not matter; the first option counts where it leaves something else open.

        Raises:
            ValueError: the genotype has other than the family's number of nodes, or an unknown operation.
        """
        cells = {"normal": genotype.normal, "reduce": genotype.reduce}
        if any(len(pairs) != self.nodes for pairs in cells.values()):
            raise ValueError(f"the cells of this family have {self.nodes} inner nodes")
        nodes = {
            kind: tuple(
                tuple(self._edge(kind, source, target, (name,)) for name, source in pair)
                for target, pair in enumerate(pairs, INPUTS)
            )
            for kind, pairs in cells.items()
        }
        layers = decide(self.around(nodes, signature), lambda choice: 0)
        return Architecture(tuple(signature.input_shape), layers)

    def _cell(self, nodes: Any, width: Any) -> Graph:
        """A cell of that width."""
        first, second = (quantized(Preprocessing.opened(width=width), self.quantization) for _ in range(INPUTS))
        outputs = tuple(range(INPUTS, INPUTS + self.nodes)) if self.nodes > 1 else ()
        cell = Graph.opened(inputs=(first, second), nodes=nodes, outputs=outputs)
        return cast(Graph, rebuild(cell, dict(cell.items())))

    def _nodes(self, kind: str) -> tuple[Any, ...]:
        """The open inner nodes of a kind of cell."""
        return tuple(self._node(kind, target) for target in range(INPUTS, INPUTS + self.nodes))

    def _node(self, kind: str, target: int) -> Any:
        """Two edges out of all from the nodes before; where a source may repeat, it has a second edge for that."""
        items = [self._edge(kind, source, target, self.operations) for source in range(target)]
        pairs = list(combinations(range(target), 2))
        if self.repeated:
            items += [self._edge(kind, source, target, self.operations, "b") for source in range(target)]
            pairs = [
                (first, second + target * (first == second))
                for first, second in combinations_with_replacement(range(target), 2)
            ]
        return Subset(Choice(f"{kind}.{target}", tuple(pairs)), tuple(items)) if len(pairs) > 1 else tuple(items)

    def _edge(self, kind: str, source: int, target: int, names: tuple[str, ...], copy: str = "") -> Edge:
        """An edge with one of the operations."""
        stride = 2 if kind == "reduce" and source < INPUTS else 1
        return edge(source, names, f"{kind}.{source}-{target}{copy}", stride, self.quantization)


def genotype(architecture: Architecture) -> Genotype:
    """The genotype of a network of cells.

    Raises:
        ValueError: its normal cells or its reduction cells differ, or it has none of one kind.
    """
    found: dict[str, set[Pairs]] = {"normal": set(), "reduce": set()}
    for layer in architecture.layers:
        for kind, cells in (("normal", layer if isinstance(layer, tuple) else ()), ("reduce", (layer,))):
            found[kind] |= {_pairs(cell) for cell in cells if isinstance(cell, Graph)}
    if any(len(pairs) != 1 for pairs in found.values()):
        raise ValueError(f"architecture {architecture.id} does not repeat one normal and one reduction cell")
    return Genotype(normal=found["normal"].pop(), reduce=found["reduce"].pop())


def _pairs(cell: Graph) -> Pairs:
    """The operations and sources of a cell's nodes."""
    return tuple(tuple((name_of(item.block), item.source) for item in edges) for edges in cell.nodes)
