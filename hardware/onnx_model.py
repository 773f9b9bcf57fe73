"""Modules to ONNX: whole networks, batches of blocks, chains of blocks.

The exporter that traces with `torch.export` takes about 0.6 s per call and about 0.1 s per block within one, so the
blocks of a space are exported as one module with an input and an output for each, and the graph is then split. The
parts are the graphs that the exporter makes of whole networks, so what is profiled is what will be deployed.
"""

from __future__ import annotations

import functools
import itertools
import logging
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import onnx
import onnxruntime
import torch
from onnx import GraphProto, ModelProto, NodeProto
from torch import nn

from hardware.measurement import MeasurementError
from hardware.onnx_nodes import set_block, with_distinct_names, without_traces
from searchspaces.blocks._join import Join
from searchspaces.part import Shape

Exported = ModelProto | MeasurementError
"""A model, or why there is none."""

_INPUT, _OUTPUT = "input", "output"
"""Operators that take a weight as their second input."""


def export_onnx(module: nn.Module, shape: Shape, path: Path, *, batch_size: int | None = 1) -> None:
    """Writes a module in evaluation mode as one ONNX file, its weights inside; input `input`, output `output`.

    Args:
        module: maps [b *shape] to [b ...].
        shape: of one sample.
        path: of the file, written at once or not at all.
        batch_size: fixed batch; None leaves it open, which costs some latency where operators reshape.

    Raises:
        MeasurementError: the exporter refuses an operator, or fails.
    """
    example = torch.zeros(batch_size or 2, *shape)
    dynamic = None if batch_size else ({0: torch.export.Dim("batch")},)
    model = _export(module, (example,), dynamic, names=[_INPUT, _OUTPUT])
    save(without_traces(with_distinct_names(model)), path)


def export_blocks(modules: Sequence[tuple[nn.Module, Shape]], batch_size: int = 1) -> list[Exported]:
    """The ONNX model of each module, or why there is none; one run of the exporter serves them all.

    Args:
        modules: blocks, each with the shape of one of its samples.
        batch_size: fixed batch.
    """
    if not modules:
        return []
    counts = [_inputs(module) for module, _ in modules]
    inputs = tuple(
        torch.zeros(batch_size, *shape) for n, (_, shape) in zip(counts, modules, strict=True) for _ in range(n)
    )
    try:
        model = _export(_Side(module for module, _ in modules), inputs)
    except MeasurementError as error:
        return [error] if len(modules) == 1 else _halved(modules, batch_size)
    return _split(model, counts)


def _inputs(module: nn.Module) -> int:
    """How many inputs a module has."""
    return module.inputs if isinstance(module, Join) else 1


def _halved(modules: Sequence[tuple[nn.Module, Shape]], batch_size: int) -> list[Exported]:
    """Exports each half by itself: this is how the one block that the exporter refuses is found."""
    middle = len(modules) // 2
    return export_blocks(modules[:middle], batch_size) + export_blocks(modules[middle:], batch_size)


class _Side(nn.Module):
    """Blocks side by side, each with its own inputs and output."""

    def __init__(self, blocks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """One output for each block."""
        rest = iter(inputs)
        return tuple(block(*itertools.islice(rest, _inputs(block))) for block in self.blocks)


def _export(
    module: nn.Module, inputs: tuple[torch.Tensor, ...], dynamic_shapes: Any = None, names: Sequence[str] = ()
) -> ModelProto:
    """The exporter's model of a module in evaluation mode. Traced here, because the exporter tries again when it fails.

    Raises:
        MeasurementError: with the exporter's words.
    """
    named: dict[str, Any] = {"input_names": names[:1], "output_names": names[1:]} if names else {}
    try:
        with quiet(), _one_registry(), torch.inference_mode(False), torch.no_grad():
            traced = torch.export.export(module.eval(), inputs, dynamic_shapes=dynamic_shapes)
            program: Any = torch.onnx.export(traced, dynamo=True, external_data=False, verbose=False, **named)
            return _with_shared_weights(program.model_proto)
    except Exception as error:
        raise _export_error(error) from error


@contextmanager
def _one_registry() -> Iterator[None]:
    """Torch fills the registry of its exporter anew for each export, which is half of the time of a small one."""
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    with mock.patch.object(ONNXRegistry, "from_torchlib", functools.partial(_filled, ONNXRegistry.from_torchlib)):
        yield


@functools.cache
def _filled(fill: Callable[..., Any], opset_version: int | None = None) -> Any:
    """The registry of an operator set, filled once."""
    return fill() if opset_version is None else fill(opset_version)


def _with_shared_weights(model: ModelProto) -> ModelProto:
    """The model, changed in place, with one copy of each matrix or kernel that it holds several times.

    Where a module is applied again, the exporter writes its transposed weights anew for each time. Vectors are left
    alone: a bias is quantized by the scale of its layer's input, so that layers cannot share an integer one.
    """
    graph, first, names = model.graph, dict[bytes, str](), dict[str, str]()
    for weight in graph.initializer:
        if len(weight.dims) > 1:
            content = onnx.TensorProto(dims=weight.dims, data_type=weight.data_type)
            content.raw_data = onnx.numpy_helper.to_array(weight).tobytes()
            names[weight.name] = first.setdefault(content.SerializeToString(), weight.name)
    _read_instead(graph, names)
    kept = [weight for weight in graph.initializer if names.get(weight.name, weight.name) == weight.name]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return model


def _read_instead(graph: GraphProto, names: Mapping[str, str]) -> None:
    """Lets the nodes read by other names, those of nested graphs included."""
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        for attribute in node.attribute:
            _read_instead(attribute.g, names)


def _export_error(error: Exception) -> MeasurementError:
    """Which kind of failure the exporter met: its chain of causes names the operator without translation."""
    causes: list[BaseException] = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    words = " | ".join(f"{type(cause).__name__}: {cause}" for cause in causes)
    unsupported = any(type(cause).__name__ in ("DispatchError", "UnsupportedOperatorError") for cause in causes)
    return MeasurementError("unsupported_operator" if unsupported else "compile_failed", words)


def _split(model: ModelProto, inputs: Sequence[int]) -> list[Exported]:
    """The part of each output, as a model of its own, with so many inputs."""
    producers = {name: node for node in model.graph.node for name in node.output}
    ends = list(itertools.accumulate(inputs))
    return [
        _part(model, index, range(end - n, end), producers)
        for index, (n, end) in enumerate(zip(inputs, ends, strict=True))
    ]


def _part(model: ModelProto, index: int, inputs: Iterable[int], producers: dict[str, NodeProto]) -> ModelProto:
    """The nodes and weights behind one output."""
    graph = model.graph
    sources, target = [graph.input[number] for number in inputs], graph.output[index]
    needed, wanted = set[str](), [target.name]
    while wanted:
        name = wanted.pop()
        if name not in needed:
            needed.add(name)
            wanted += _reads(producers[name]) if name in producers else []
    part = GraphProto(name=f"block_{index}", input=sources, output=[target])
    part.node.extend(node for node in graph.node if needed.intersection(node.output))
    part.initializer.extend(weight for weight in graph.initializer if weight.name in needed)
    return _model(model, part)


def _reads(node: NodeProto) -> list[str]:
    """Names that a node reads, its nested graphs included."""
    nested = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    return [*node.input, *(name for graph in nested for inner in graph.node for name in _reads(inner))]


def chain(
    parts: Sequence[ModelProto], shape: Shape, batch_size: int = 1, wires: Sequence[Sequence[int]] | None = None
) -> ModelProto:
    """The models one after the other, each with its own copy of its weights; none at all is the empty network.

    The nodes of part i carry the name scope `i`, as those of module i of an exported `nn.Sequential` do.

    Args:
        parts: of each block.
        shape: of one sample of the input.
        batch_size: fixed batch.
        wires: what each part reads, 0 the input and n the output of part n - 1; the one before it if there are none.
            One that joins several inputs takes a single one for all of them.
    """
    graph = GraphProto(name="chain")
    values, output = [_INPUT], [batch_size, *shape]
    for index, part in enumerate(parts):
        sources = [values[source] for source in (wires[index] if wires else (index,))]
        values.append(_append(graph, part.graph, f"{index}/", sources))
        output = [axis.dim_value for axis in part.graph.output[0].type.tensor_type.shape.dim]
    graph.node.append(onnx.helper.make_node("Identity", values[-1:], [_OUTPUT], name="output"))
    graph.input.append(onnx.helper.make_tensor_value_info(_INPUT, onnx.TensorProto.FLOAT, [batch_size, *shape]))
    graph.output.append(onnx.helper.make_tensor_value_info(_OUTPUT, onnx.TensorProto.FLOAT, output))
    like = parts[0] if parts else ModelProto(ir_version=10, opset_import=[onnx.helper.make_opsetid("", 20)])
    return _model(like, graph)


def _append(graph: GraphProto, part: GraphProto, prefix: str, sources: Sequence[str]) -> str:
    """Adds a part that reads these values; returns the name of its output."""
    inputs = [value.name for value in part.input]
    rename = {"": "", **dict(zip(inputs, sources if len(sources) > 1 else list(sources) * len(inputs), strict=True))}
    for weight in part.initializer:
        copied = graph.initializer.add()
        copied.CopyFrom(weight)
        copied.name = rename[weight.name] = prefix + weight.name
    for number, node in enumerate(part.node):
        copied = graph.node.add()
        copied.CopyFrom(node)
        copied.name = f"{prefix}{number}/{node.op_type}"
        rename.update({name: prefix + name for name in node.output if name})
        copied.input[:] = [rename[name] for name in node.input]
        copied.output[:] = [rename[name] for name in node.output]
        set_block(copied, prefix.rstrip("/"))
    return rename[part.output[0].name]


def _model(like: ModelProto, graph: GraphProto) -> ModelProto:
    """A model of the same format version and operator sets."""
    return onnx.helper.make_model(
        graph, opset_imports=like.opset_import, ir_version=like.ir_version, functions=like.functions
    )


def save(model: ModelProto, path: Path) -> None:
    """Writes a model: temporary file beside, flushed, renamed."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with beside.open("wb") as file:
        file.write(model.SerializeToString())
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


@contextmanager
def quiet() -> Iterator[None]:
    """Silences the warnings and log lines of the exporter and the quantizer."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    onnxruntime.set_default_logger_severity(3)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        onnxruntime.set_default_logger_severity(2)
