"""One ONNX file for every batch size that costs no more than one for a fixed batch."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto
from torch import nn

from hardware.measurement import MeasurementError
from hardware.onnx_model import export_onnx, save
from nas.export._role import Deployable

BATCH = "batch"
"""The name of the open axis."""

IMPORT = """import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else it sends statistics of its use

import onnxruntime
"""
"""What a program begins with that runs such a file."""

_SCOPES = "pkg.torch.onnx.name_scopes"
"""Where the exporter notes the module that a node comes from."""


def write(network: nn.Module, model: Deployable, path: Path) -> None:
    """Writes a network; the batch is open where the operators allow it, else that of the model's backend.

    Raises:
        MeasurementError: the exporter refuses an operator, or fails.
    """
    shape = model.architecture.input_shape
    with tempfile.TemporaryDirectory() as scratch:
        traced = Path(scratch) / path.name
        try:
            export_onnx(network, shape, traced, batch_size=None)
        except MeasurementError:
            export_onnx(network, shape, traced, batch_size=model.backend.batch_size)
        save(without_traces(without_shape_arithmetic(onnx.load(traced))), path)


def batch_size(path: Path) -> int | None:
    """The batch of a file's input; None if it is open."""
    graph = onnx.load(path, load_external_data=False).graph
    return graph.input[0].type.tensor_type.shape.dim[0].dim_value or None


def without_traces(model: ModelProto) -> ModelProto:
    """The model, changed in place, without the paths and lines of the source that its nodes come from."""
    for node in model.graph.node:
        kept = [entry for entry in node.metadata_props if entry.key == _SCOPES]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    return model


def without_shape_arithmetic(model: ModelProto) -> ModelProto:
    """The model, changed in place, with its open axis named, and constants where reshapes computed their shape.

    A shape of which one length alone is open is a constant with -1 in that place: the number of elements tells it.
    The exporter computes it from the input's shape at each run instead, which costs small networks a sixth of their
    time.
    """
    graph = model.graph
    _rename_batch(graph)
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    lengths = {value.name: _lengths(value) for value in [*inferred.value_info, *inferred.output]}
    constants = {weight.name for weight in graph.initializer}
    for number, node in enumerate(graph.node):
        shape = lengths.get(node.output[0], [])
        if node.op_type == "Reshape" and node.input[1] not in constants and shape and shape.count(-1) <= 1:
            name = f"shape_{number}"
            graph.initializer.append(onnx.numpy_helper.from_array(np.array(shape, np.int64), name))
            node.input[1] = name
    _remove_unused(graph)
    return model


def _rename_batch(graph: GraphProto) -> None:
    """Gives the open axis its name wherever it occurs."""
    symbol = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in [*graph.input, *graph.output, *graph.value_info] if symbol else []:
        for length in value.type.tensor_type.shape.dim:
            if length.dim_param:
                length.dim_param = length.dim_param.replace(symbol, BATCH)


def _lengths(value: ValueInfoProto) -> list[int]:
    """The lengths of a tensor's axes, -1 where unknown; empty where the number of axes is."""
    kind = value.type.tensor_type
    return [length.dim_value or -1 for length in kind.shape.dim] if kind.HasField("shape") else []


def _remove_unused(graph: GraphProto) -> None:
    """Drops the nodes and weights that no output depends on."""
    wanted = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            wanted.update(_reads(node))
            kept.append(node)
    weights = [weight for weight in graph.initializer if weight.name in wanted]
    for field, values in ((graph.node, reversed(kept)), (graph.initializer, weights)):
        copies = list(values)
        del field[:]
        field.extend(copies)


def _reads(node: NodeProto) -> Iterator[str]:
    """Names that a node reads, its nested graphs included."""
    yield from node.input
    for attribute in node.attribute:
        for inner in attribute.g.node:
            yield from _reads(inner)
