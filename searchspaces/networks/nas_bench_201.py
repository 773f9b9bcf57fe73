"""The network of NAS-Bench-201, and its cells as strings."""

from __future__ import annotations

import re
from typing import Any

from searchspaces.architecture import Architecture, Layers
from searchspaces.blocks.basic_residual import BasicResidual
from searchspaces.blocks.convolution import Convolution
from searchspaces.blocks.pooled_classifier import PooledClassifier
from searchspaces.choice import Depth, decide, variants
from searchspaces.graph import Graph
from searchspaces.networks._operations import Name, edge, name_of, quantized, scaled
from searchspaces.networks._role import Network, Signature, StageDepth, Width
from searchspaces.quantization._role import QuantizationPolicy
from searchspaces.quantization.none import NoQuantization

NODES = 4
CIFAR_10 = Signature((3, 32, 32), 10)
_NAMES: tuple[Name, ...] = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
_EDGE = re.compile(r"\|(\w+)~(\d)")


class NasBench201(Network):
    """Stem, three stages of equal cells with residual blocks between them, head (arXiv:2001.00326, section 2.1).

    A cell has four nodes and an operation on each of its six edges; all cells of a network have the same ones, and
    weights of their own. With one number of cells there are 5^6 = 15,625 networks.
    """

    filters: Width = 16
    cells: StageDepth = 5
    """In each stage; where it is a choice, it is one for all stages."""
    operations: tuple[Name, ...] = _NAMES
    quantization: QuantizationPolicy = NoQuantization()
    """Of every block."""

    def layers(self, signature: Signature) -> Layers:
        """[stem, cells, residual block, cells, residual block, cells, classifier]."""
        return self.around(self.cell(), signature)

    def around(self, cell: Graph, signature: Signature) -> Layers:
        """The layers with this cell."""
        cells = Depth(self.cells, (cell,) * max(variants(self.cells)))
        blocks = [
            Convolution.opened(width=self.filters, activation="none"),
            BasicResidual.opened(width=scaled(self.filters, 2)),
            BasicResidual.opened(width=scaled(self.filters, 4)),
            PooledClassifier(classes=signature.outputs, normalized=True),
        ]
        stem, second, third, head = (quantized(block, self.quantization) for block in blocks)
        return (stem, cells, second, cells, third, cells, head)

    def cell(self) -> Graph:
        """The open cell."""
        return Graph.opened(inputs=(None,), nodes=tuple(map(self._edges, range(1, NODES))), outputs=())

    def _edges(self, target: int) -> tuple[Any, ...]:
        """An edge from each node before a node."""
        return tuple(
            edge(source, self.operations, f"cell.{source}-{target}", 1, self.quantization) for source in range(target)
        )


def from_string(text: str, signature: Signature = CIFAR_10, network: NasBench201 | None = None) -> Architecture:
    """The network of a cell's string, `|nor_conv_3x3~0|+|none~0|skip_connect~1|+|...|`.

    Args:
        text: for each node behind the input its edges, `operation~source`.
        signature: of the task; CIFAR-10's by default.
        network: the family, of which the operations do not matter; the published one by default. The first option
            counts where it leaves something else open.

    Raises:
        ValueError: the string is not of this form.
    """
    nodes = [_EDGE.findall(node) for node in text.split("+")]
    written = "+".join("".join(f"|{name}~{source}" for name, source in node) + "|" for node in nodes)
    complete = [[int(source) for _, source in node] for node in nodes] == [[0], [0, 1], [0, 1, 2]]
    if written != text or not complete or not {name for node in nodes for name, _ in node} <= set(_NAMES):
        raise ValueError(f"not a cell of NAS-Bench-201: {text!r}")
    family = network or NasBench201()
    edges = tuple(
        tuple(edge(source, (name,), "", 1, family.quantization) for source, (name, _) in enumerate(node))
        for node in nodes
    )
    layers = decide(family.around(Graph(nodes=edges), signature), lambda choice: 0)
    return Architecture(tuple(signature.input_shape), layers)


def to_string(architecture: Architecture) -> str:
    """The string of a network's cell.

    Raises:
        ValueError: the network does not repeat one such cell.
    """
    cells = {cell for layer in architecture.layers if isinstance(layer, tuple) for cell in layer}
    found = next(iter(cells), None)
    if len(cells) != 1 or not isinstance(found, Graph) or len(found.nodes) != NODES - 1:
        raise ValueError(f"architecture {architecture.id} is not of NAS-Bench-201")
    return "+".join("".join(f"|{name_of(item.block)}~{item.source}" for item in node) + "|" for node in found.nodes)
