"""ONNX: the exported graph computes what the module computes."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import ModelProto
from torch import nn

from hardware.measurement import MeasurementError
from hardware.onnx_model import _with_shared_weights, chain, export_blocks, export_onnx
from hardware.onnx_nodes import weighted_nodes
from hardware.onnx_quantization import Samples, quantize, quantize_onnx
from searchspaces.architecture import Architecture
from tests.hardware.networks import CONVOLUTIONAL, FLOAT, INPUT, MIXED, SAME_SIZE, Untranslatable

SAMPLES = np.random.default_rng(0).standard_normal((8, *INPUT), dtype=np.float32)
QUANTIZING = {"QuantizeLinear", "DequantizeLinear"}


def trained(architecture: Architecture) -> nn.Sequential:
    """The float network with statistics that are not those of a fresh one."""
    torch.manual_seed(0)
    network = architecture.build(quantize=False)
    with torch.no_grad():
        for _ in range(3):
            network.train()(torch.randn(16, *architecture.input_shape) * 2 + 1)
    return network.eval()


def parts(network: nn.Sequential, architecture: Architecture, batch_size: int = 1) -> list[ModelProto]:
    """The exported blocks."""
    shapes = [place.shape for place in architecture.blocks()]
    models = export_blocks(list(zip(network, shapes, strict=True)), batch_size)
    return [model for model in models if isinstance(model, ModelProto)]


def run(model: ModelProto | Path, samples: Samples) -> Samples:
    """The outputs of ONNX Runtime."""
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: samples})[0])


def reference(network: nn.Module, samples: Samples) -> Samples:
    """The outputs of torch."""
    with torch.no_grad():
        return network(torch.from_numpy(samples)).numpy()


@pytest.fixture(scope="module")
def float_network() -> nn.Sequential:
    return trained(FLOAT)


@pytest.fixture(scope="module")
def float_parts(float_network: nn.Sequential) -> list[ModelProto]:
    return parts(float_network, FLOAT)


@pytest.fixture(scope="module")
def float_file(float_network: nn.Sequential, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    export_onnx(float_network, INPUT, path)
    return path


def test_the_file_computes_what_torch_computes(float_network: nn.Sequential, float_file: Path) -> None:
    np.testing.assert_allclose(run(float_file, SAMPLES[:1]), reference(float_network, SAMPLES[:1]), atol=1e-5)
    assert [file.name for file in float_file.parent.iterdir()] == ["model.onnx"], "one file, and nothing temporary"


def test_an_open_batch_takes_any_number_of_samples(float_network: nn.Sequential, tmp_path: Path) -> None:
    export_onnx(float_network, INPUT, tmp_path / "model.onnx", batch_size=None)
    for count in (1, 5):
        computed = run(tmp_path / "model.onnx", SAMPLES[:count])
        np.testing.assert_allclose(computed, reference(float_network, SAMPLES[:count]), atol=1e-5)


@pytest.mark.parametrize(("architecture", "batch_size"), [(CONVOLUTIONAL, 3), (SAME_SIZE, 2)])
def test_blocks_exported_side_by_side_and_chained_compute_the_network(
    architecture: Architecture, batch_size: int
) -> None:
    network = trained(architecture)
    model = chain(parts(network, architecture, batch_size), architecture.input_shape, batch_size)
    onnx.checker.check_model(model, full_check=True)
    samples = SAMPLES[:batch_size]
    np.testing.assert_allclose(run(model, samples), reference(network, samples), atol=1e-5)


def test_the_chain_is_the_graph_of_the_whole_network(float_parts: list[ModelProto], float_file: Path) -> None:
    chained = [node.op_type for node in chain(float_parts, INPUT).graph.node]
    assert chained == [*(node.op_type for node in onnx.load(float_file).graph.node), "Identity"]


def test_a_chain_repeats_a_block_with_weights_of_its_own(
    float_network: nn.Sequential, float_parts: list[ModelProto]
) -> None:
    shape, block = FLOAT.blocks()[1].shape, float_parts[1]
    samples = np.random.default_rng(0).standard_normal((1, *shape), dtype=np.float32)
    model = chain([block] * 3, shape)
    expected = reference(nn.Sequential(*[float_network[1]] * 3), samples)
    np.testing.assert_allclose(run(model, samples), expected, atol=1e-5)
    assert len(model.graph.initializer) == 3 * len(block.graph.initializer)


def test_the_empty_chain_is_the_identity() -> None:
    np.testing.assert_array_equal(run(chain([], INPUT, 8), SAMPLES), SAMPLES)


def test_weighted_nodes_are_the_layers_of_the_blocks(float_file: Path, float_parts: list[ModelProto]) -> None:
    for model in (onnx.load(float_file), chain(float_parts, INPUT)):
        kinds = {node.name: node.op_type for node in model.graph.node}
        assert len(kinds) == len(model.graph.node), "names are distinct"
        assert [kinds[name] for name in weighted_nodes(model, [1])] == ["MatMul"] * 4, "not attention's own products"
        assert [kinds[name] for name in weighted_nodes(model, [2, 4])] == ["Conv"] * 3
        assert weighted_nodes(model, []) == []


def test_quantization_stays_in_the_chosen_blocks(
    float_network: nn.Sequential, float_file: Path, tmp_path: Path
) -> None:
    chosen = [i for i, place in enumerate(MIXED.blocks()) if place.part.quantization.integer]
    nodes = weighted_nodes(onnx.load(float_file), chosen)
    quantize_onnx(float_file, tmp_path / "model.int8.onnx", SAMPLES, nodes)
    model = onnx.load(tmp_path / "model.int8.onnx")
    inputs = {name for node in model.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    integer = {
        node.name
        for node in model.graph.node
        if node.op_type in ("Conv", "MatMul", "Gemm") and set(node.input) & inputs
    }
    assert integer == set(nodes)
    float_kinds = {node.op_type for node in onnx.load(float_file).graph.node}
    assert {node.op_type for node in model.graph.node} - float_kinds == QUANTIZING
    expected, computed = reference(float_network, SAMPLES[:1]), run(tmp_path / "model.int8.onnx", SAMPLES[:1])
    assert 0 < np.abs(computed - expected).max() < 0.05 * np.abs(expected).max()


def test_weights_are_int8_per_channel(float_parts: list[ModelProto]) -> None:
    model = chain(float_parts, INPUT)
    quantized = quantize(model, SAMPLES, weighted_nodes(model, [0]))
    weights = {weight.name: weight for weight in quantized.graph.initializer}
    (kernel,) = (
        weight for weight in weights.values() if len(weight.dims) == 4 and weight.data_type == onnx.TensorProto.INT8
    )
    assert list(kernel.dims) == [16, 3, 4, 4]
    assert list(weights[kernel.name.replace("_quantized", "_scale")].dims) == [16]


def test_without_nodes_the_quantized_file_is_the_float_file(float_file: Path, tmp_path: Path) -> None:
    quantize_onnx(float_file, tmp_path / "same.onnx", SAMPLES, [])
    assert onnx.load(tmp_path / "same.onnx") == onnx.load(float_file)


def test_too_few_calibration_samples_are_refused() -> None:
    model = chain([], INPUT, 9)
    with pytest.raises(ValueError, match="8 calibration samples do not fill a batch of 9"):
        quantize(model, SAMPLES, ["output"])


def test_a_block_that_the_exporter_refuses_fails_alone_and_in_the_exporters_words() -> None:
    refused = Untranslatable().build(INPUT)
    first, failure, second = export_blocks([(nn.ReLU(), INPUT), (refused, INPUT), (nn.Sigmoid(), INPUT)])
    assert isinstance(first, ModelProto)
    assert isinstance(second, ModelProto)
    np.testing.assert_allclose(run(second, SAMPLES[:1]), 1 / (1 + np.exp(-SAMPLES[:1])), atol=1e-6)
    assert isinstance(failure, MeasurementError)
    assert failure.state == "unsupported_operator"
    assert "linalg_eigh" in failure.reason


def test_the_exporter_makes_no_noise(
    float_network: nn.Sequential, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        export_onnx(float_network[0], INPUT, tmp_path / "model.onnx")
        nodes = [node.name for node in onnx.load(tmp_path / "model.onnx").graph.node]
        quantize_onnx(tmp_path / "model.onnx", tmp_path / "model.int8.onnx", SAMPLES, nodes)
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""
    assert logging.root.manager.disable == logging.NOTSET


def test_an_exported_file_names_no_source_file(tmp_path: Path) -> None:
    export_onnx(nn.Conv2d(2, 3, 3), (2, 5, 5), tmp_path / "model.onnx")
    assert b".py" not in (tmp_path / "model.onnx").read_bytes()


class Again(nn.Module):
    """A layer applied several times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.layer, self.times = nn.Linear(7, 7), times

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(self.times):
            x = self.layer(x).tanh()
        return x


def matrices(model: ModelProto) -> list[int]:
    """Number formats of the matrices that a model holds."""
    return [weight.data_type for weight in model.graph.initializer if len(weight.dims) == 2]


def test_a_layer_that_is_applied_again_is_written_once(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, path = nn.Sequential(Again(3)), tmp_path / "again.onnx"
    samples = np.random.default_rng(0).random((2, 5, 7), np.float32)
    export_onnx(network, (5, 7), path, batch_size=2)
    model = onnx.load(path)
    assert matrices(model) == [onnx.TensorProto.FLOAT]
    np.testing.assert_allclose(run(path, samples), reference(network, samples), rtol=0, atol=1e-6)
    (block,) = export_blocks([(network[0], (5, 7))], batch_size=2)
    assert isinstance(block, ModelProto) and matrices(block) == [onnx.TensorProto.FLOAT]
    integers = quantize(model, samples, weighted_nodes(model, [0]))
    assert matrices(integers) == [onnx.TensorProto.INT8]
    np.testing.assert_allclose(run(integers, samples), reference(network, samples), rtol=0, atol=0.02)


def test_equal_matrices_become_one_also_where_nested_graphs_read_them() -> None:
    text = """<ir_version: 10, opset_import: ["" : 20]>
    net (float[2] x, bool turn) => (float[2] y)
    <float[2, 2] a = {1, 2, 3, 4}, float[2, 2] b = {1, 2, 3, 4}, float[2, 2] c = {1, 2, 3, 5}, float[2] p = {1, 2},
     float[2] q = {1, 2}> {
        f = MatMul (x, a)
        s = Add (f, p)
        t = Add (s, q)
        g = If (turn) <
            then_branch = yes () => (float[2] u) { u = MatMul (t, b) },
            else_branch = no () => (float[2] v) { v = MatMul (t, c) }
        >
        y = Identity (g)
    }"""
    model = onnx.parser.parse_model(text)
    x = np.array([1.0, -2.0], np.float32)

    def outputs(found: ModelProto) -> list[Samples]:
        session = onnxruntime.InferenceSession(found.SerializeToString(), providers=["CPUExecutionProvider"])
        return [np.asarray(session.run(None, {"x": x, "turn": np.array(turn)})[0]) for turn in (True, False)]

    before = outputs(model)
    after = _with_shared_weights(model)
    assert [weight.name for weight in after.graph.initializer] == ["a", "c", "p", "q"]
    np.testing.assert_array_equal(outputs(after), before)
