"""ONNX Runtime: failures in its own words, and which file it measures."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from hardware.backends._onnx import quantized
from hardware.backends._role import Workload
from hardware.backends.onnxruntime import OnnxRuntime
from hardware.onnx_model import chain, export_blocks, save
from searchspaces.architecture import Architecture
from searchspaces.quantization.integer import Integer
from tests.hardware.networks import BRIEF, CONVOLUTIONAL, INPUT, Untranslatable

RUNTIME = OnnxRuntime()


def model(kind: str, domain: str = "") -> ModelProto:
    """A model of one operator."""
    source, target = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("x", "y"))
    graph = helper.make_graph([helper.make_node(kind, ["x"], ["y"], domain=domain)], "g", [source], [target])
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid(domain, 20)])


def test_an_operator_that_the_exporter_refuses_fails_its_job_alone() -> None:
    jobs = [Workload(Architecture(INPUT, (Untranslatable(),))), Workload(Architecture(INPUT, ()))]
    refused, empty = RUNTIME.measure(jobs, BRIEF)
    assert refused.state == "unsupported_operator"
    assert "linalg_eigh" in refused.reason
    assert empty.ok


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no model", "protobuf parsing failed"),
        (model("Unheard", "elsewhere").SerializeToString(), "Unheard"),
        (b"", "No graph was found"),
    ],
)
def test_a_model_that_the_runtime_refuses_keeps_the_runtimes_words(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    measurement = RUNTIME.measure_export(tmp_path, BRIEF)
    assert measurement.state == "compile_failed"
    assert words in measurement.reason


def test_the_integer_file_is_measured_where_there_is_one(tmp_path: Path) -> None:
    save(model("Relu"), tmp_path / "model.onnx")
    float_bytes = RUNTIME.measure_export(tmp_path, BRIEF).model_bytes
    save(model("HardSwish"), tmp_path / "model.int8.onnx")
    int8_bytes = RUNTIME.measure_export(tmp_path, BRIEF).model_bytes
    assert float_bytes == (tmp_path / "model.onnx").stat().st_size
    assert int8_bytes == (tmp_path / "model.int8.onnx").stat().st_size != float_bytes


def test_a_fixed_batch_that_is_not_the_backends_is_a_failure(tmp_path: Path) -> None:
    save(model("Relu"), tmp_path / "model.onnx")
    measurement = OnnxRuntime(batch_size=3).measure_export(tmp_path, BRIEF)
    assert measurement.state == "compile_failed"
    assert "dimension" in measurement.reason


def test_integers_are_used_in_the_blocks_whose_policy_says_so() -> None:
    blocks = CONVOLUTIONAL.blocks()
    first = blocks[0].part.model_copy(update={"quantization": Integer(weight_bits=4)})
    job = Workload(Architecture(INPUT, (first, blocks[1].part)))
    network = CONVOLUTIONAL.build().eval()
    parts = export_blocks([(module, place.shape) for module, place in zip(network, blocks, strict=True)])
    assert all(isinstance(part, ModelProto) for part in parts)
    floats = [part for part in parts if isinstance(part, ModelProto)]
    model = chain(floats, INPUT)
    deployed = quantized(job, model, 1)
    int8 = [weight.name for weight in deployed.graph.initializer if weight.data_type == TensorProto.INT8]
    kernels = [name for name in int8 if name.endswith("_quantized")]
    assert [name[:2] for name in kernels] == ["0/"] * 3
    onnx.checker.check_model(deployed)
    assert quantized(Workload(CONVOLUTIONAL), model, 1) == model
