from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from nas.export import onnx_int8
from nas.export._onnx_file import batch_size, without_shape_arithmetic
from nas.export._role import Deployable
from nas.export.onnx import Onnx
from nas.export.onnx_int8 import OnnxInt8
from nas.export.torch_export import TorchExport
from searchspaces.cost import architecture_cost
from tests.nas.export.conftest import Written
from tests.nas.export.networks import MIXERS, deployable, metaformer, task


def run(path: Path, inputs: np.ndarray) -> np.ndarray:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"input": inputs})[0]


@pytest.fixture(scope="module")
def attention(tmp_path_factory: pytest.TempPathFactory) -> tuple[Deployable, Path]:
    model = deployable(metaformer(*MIXERS[2:5]))
    return model, Onnx().write(model, tmp_path_factory.mktemp("onnx"))[0]


@pytest.mark.parametrize("size", [1, 2, 5])
def test_one_file_serves_every_batch_size(attention: tuple[Deployable, Path], size: int) -> None:
    model, path = attention
    inputs = next(task().test(size))[0]
    with torch.inference_mode():
        expected = model.network(inputs).numpy()
    np.testing.assert_allclose(run(path, inputs.numpy()), expected, rtol=0, atol=1e-5)


def test_the_open_batch_costs_no_shape_arithmetic(attention: tuple[Deployable, Path]) -> None:
    graph = onnx.load(attention[1]).graph
    assert not {"Shape", "Gather", "Concat"} & {node.op_type for node in graph.node}
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert graph.output[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert batch_size(attention[1]) is None


def test_a_shape_with_two_open_lengths_stays_computed() -> None:
    text = """<ir_version: 10, opset_import: ["" : 20]>
    net (float[n, 6] input) => (float[n, k, p] output) <int64[1] two = {2}, int64[1] rest = {-1}, int64[1] zero = {0}> {
        size = Shape <start = 0, end = 1> (input)
        unused = Shape (input)
        double = Mul (size, two)
        shape = Concat <axis = 0> (size, double, rest)
        wide = Concat <axis = 1> (input, input)
        output = Reshape (wide, shape)
    }"""
    model = onnx.parser.parse_model(text)
    kept = [node.op_type for node in without_shape_arithmetic(model).graph.node]
    assert kept == ["Shape", "Mul", "Concat", "Concat", "Reshape"]
    assert {weight.name for weight in model.graph.initializer} == {"two", "rest"}


@pytest.mark.slow
def test_no_file_tells_where_it_was_made(integer: Written) -> None:
    here = str(Path(__file__).parents[3]).encode()
    for name in ("model.onnx", "model.int8.onnx", "model.pt2", "model.py", "model.safetensors"):
        assert here not in (integer.folder / name).read_bytes()


@pytest.mark.slow
def test_only_the_layers_of_integer_blocks_are_quantized(integer: Written) -> None:
    graph = onnx.load(integer.folder / "model.int8.onnx").graph
    blocks = integer.model.architecture.blocks()
    assert 0 < len(integer.model.integer_blocks) < len(blocks)
    dequantized = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    owners: dict[bool, set[int]] = {True: set(), False: set()}
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm") or (node.op_type == "MatMul" and node.metadata_props):
            owners[node.input[1] in dequantized].add(block_of(node))
    assert owners[True] <= set(integer.model.integer_blocks)
    assert not owners[False] & set(integer.model.integer_blocks)
    weighted = {index for index in integer.model.integer_blocks if "pooling" not in str(blocks[index].part.describe())}
    assert owners[True] >= weighted


def block_of(node: Any) -> int:
    (scopes,) = [entry.value for entry in node.metadata_props if entry.key == "pkg.torch.onnx.name_scopes"]
    return int(ast.literal_eval(scopes)[1])


@pytest.mark.parametrize("bits", [3, 8])
def test_the_int8_file_computes_what_fake_quantization_promised(bits: int, tmp_path: Path) -> None:
    policy = {"kind": "integer", "weight_bits": bits, "granularity": "tensor" if bits < 8 else "channel"}
    model = deployable(metaformer({"kind": "depthwise"}, quantization=policy))
    (path,) = OnnxInt8().write(model, tmp_path)
    promised = model.architecture.build()
    promised.load_state_dict(model.state)
    inputs = torch.from_numpy(model.calibration)
    with torch.inference_mode():
        expected, plain = promised.eval()(inputs).numpy(), model.network(inputs).numpy()
    off = np.abs(run(path, model.calibration) - expected).max() / np.abs(expected).max()
    assert off < 0.03
    assert bits == 8 or np.abs(plain - expected).max() / np.abs(expected).max() > 3 * off


def test_nothing_is_quantized_where_no_policy_asks(attention: tuple[Deployable, Path], tmp_path: Path) -> None:
    assert OnnxInt8().write(attention[0], tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_an_exported_program_takes_every_batch_size(tmp_path: Path) -> None:
    model = deployable(metaformer(*MIXERS[4:6]))
    (path,) = TorchExport().write(model, tmp_path)
    assert TorchExport().batch_size(tmp_path) is None
    program: Any = torch.export.load(path)
    inputs = next(task().test(5))[0]
    with torch.inference_mode():
        torch.testing.assert_close(program.module()(inputs), model.network(inputs), rtol=0, atol=1e-6)


def test_calibration_images_are_as_many_as_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    model = deployable(metaformer({"kind": "identity"}))
    written = architecture_cost(model.architecture).activation_bytes
    monkeypatch.setattr(onnx_int8, "_MEMORY_BYTES", 10 * written + 1)
    assert onnx_int8._samples(model) == 10
    monkeypatch.setattr(onnx_int8, "_MEMORY_BYTES", 1)
    assert onnx_int8._samples(model) == 1
