"""Nodes of exported ONNX models: which module each comes from, and which of them hold weights."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from onnx import ModelProto, NodeProto

WEIGHTED = ("Conv", "Gemm", "MatMul")
_LINEAR = "linear"
"""How the exporter names a linear layer's product; behind a convolution it may fold a normalization, and name that."""
_SCOPES = "pkg.torch.onnx.name_scopes"


def with_distinct_names(model: ModelProto) -> ModelProto:
    """The model with a name of its own for each node."""
    seen = set[str]()
    for number, node in enumerate(model.graph.node):
        node.name = node.name if node.name and node.name not in seen else f"{node.op_type}_{number}"
        seen.add(node.name)
    return model


def without_traces(model: ModelProto) -> ModelProto:
    """The model without the exporter's notes on where in which source file each node was made; scopes stay."""
    for node in model.graph.node:
        kept = [note for note in node.metadata_props if note.key == _SCOPES]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
    return model


def set_block(node: NodeProto, block: str) -> None:
    """Notes that a node belongs to a block of a chain, instead of the module path that the exporter noted on it."""
    scopes = ["", block, *scopes_of(node)[-1:]]
    del node.metadata_props[:]
    node.metadata_props.add(key=_SCOPES, value=str(scopes))


def scopes_of(node: NodeProto) -> list[str]:
    """Paths of the modules around a node, outermost first, then the name of its operation; empty if unknown."""
    found = [entry.value for entry in node.metadata_props if entry.key == _SCOPES]
    return list(ast.literal_eval(found[0])) if found else []


def weighted_nodes(model: ModelProto, blocks: Iterable[int]) -> list[str]:
    """Names of the convolutions and linear layers of these blocks: nodes whose second input is a weight.

    Other matrix products with constants, such as those of a Fourier transform, are none of them.

    Args:
        model: of an exported `nn.Sequential`, or a `chain`.
        blocks: indices in the sequence.
    """
    chosen = {str(index) for index in blocks}
    weights = {weight.name for weight in model.graph.initializer}
    return [
        node.name
        for node in model.graph.node
        if chosen.intersection(scopes_of(node)[1:2])
        if node.op_type in WEIGHTED and node.input[1] in weights
        if node.op_type != "MatMul" or scopes_of(node)[-1].startswith(_LINEAR)
    ]
