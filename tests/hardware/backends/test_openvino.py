"""OpenVINO: float32 as torch has it, int8 where the policies say so, and failures in its own words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import ModelProto, TensorProto, helper

from hardware.backends._local import float_module
from hardware.backends._onnx import float_models
from hardware.backends._role import Workload
from hardware.backends.openvino import OpenVino
from hardware.isolation import in_this_process
from hardware.onnx_model import save
from hardware.onnx_session import normal
from hardware.openvino_model import compiled
from searchspaces.architecture import Architecture
from searchspaces.quantization.integer import Integer
from tests.hardware.backends.test_onnxruntime import model
from tests.hardware.networks import BRIEF, CONVOLUTIONAL, FLOAT, INPUT, MIXED, Untranslatable

pytest.importorskip("openvino")
pytest.importorskip("nncf")

RUNTIME = OpenVino()


def network(job: Workload) -> ModelProto:
    """The float graph of a job."""
    (found,) = float_models([job], 1)
    assert isinstance(found, ModelProto)
    return found


def precisions(job: Workload) -> dict[str, set[str]]:
    """What the processor computes the layers of a job's network in, by their type."""
    executed = compiled(RUNTIME.network(job, network(job)), 1).get_runtime_model()
    found: dict[str, set[str]] = {}
    for node in executed.get_ops():
        facts = node.get_rt_info()
        found.setdefault(facts["layerType"].astype(str), set()).add(facts["runtimePrecision"].astype(str))
    return found


def with_policies(*integer: bool) -> Architecture:
    """The convolutional network with a policy for each of its blocks."""
    parts = [place.part for place in CONVOLUTIONAL.blocks()]
    policies = [{"quantization": Integer()} if chosen else {} for chosen in integer]
    return Architecture(
        INPUT, tuple(part.model_copy(update=policy) for part, policy in zip(parts, policies, strict=True))
    )


def test_float_outputs_are_those_of_torch_though_the_processor_prefers_bfloat16() -> None:
    job, x = Workload(FLOAT), normal(1, INPUT)
    with torch.no_grad():
        expected = float_module(job)(torch.from_numpy(x)).numpy()
    found = compiled(RUNTIME.network(job, network(job)), 1)([x])[0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("integer", [(True, False), (False, True), (True, True), (False, False)])
def test_blocks_compute_in_integers_where_their_policy_says_so(integer: tuple[bool, bool]) -> None:
    found = precisions(Workload(with_policies(*integer)))
    for layer, chosen in zip(("Convolution", "FullyConnected"), integer, strict=True):
        assert bool(found[layer] & {"u8", "i8"}) == chosen, layer
        assert chosen or found[layer] == {"f32"}


def test_int8_outputs_are_near_those_of_the_float_network_and_not_equal() -> None:
    x = normal(64, INPUT)
    job = Workload(MIXED, calibration=x)
    graph = network(job)
    plain, integer = (compiled(RUNTIME.network(w, graph), 1) for w in (Workload(FLOAT), job))
    expected, found = (np.concatenate([net([sample[None]])[0] for sample in x]) for net in (plain, integer))
    error = np.linalg.norm(found - expected) / np.linalg.norm(expected - expected.mean(axis=0))
    assert 1e-5 < error < 0.2


def test_too_few_calibration_samples_are_an_error_of_the_caller() -> None:
    job = Workload(MIXED, calibration=normal(1, INPUT))
    with pytest.raises(ValueError, match="do not fill a batch of 4"):
        OpenVino(batch_size=4).measure([job], BRIEF)


def test_an_operator_that_the_exporter_refuses_fails_its_job_alone() -> None:
    jobs = [Workload(Architecture(INPUT, (Untranslatable(),))), Workload(Architecture(INPUT, ()))]
    refused, empty = RUNTIME.measure(jobs, BRIEF)
    assert refused.state == "unsupported_operator" and empty.ok


@pytest.mark.parametrize(
    ("content", "state", "words"),
    [
        (b"no model", "compile_failed", "OpenVINO: "),
        (model("Unheard", "elsewhere").SerializeToString(), "unsupported_operator", "Unheard"),
    ],
)
def test_a_model_that_the_runtime_refuses_keeps_its_words(
    tmp_path: Path, content: bytes, state: str, words: str
) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    measurement = RUNTIME.measure_export(tmp_path, BRIEF)
    assert measurement.state == state and words in measurement.reason


def test_the_integer_file_is_measured_where_there_is_one(tmp_path: Path) -> None:
    with in_this_process():
        for name, operator in (("model.onnx", "Relu"), ("model.int8.onnx", "HardSwish")):
            save(model(operator), tmp_path / name)
            assert RUNTIME.measure_export(tmp_path, BRIEF).model_bytes == (tmp_path / name).stat().st_size


def test_an_open_batch_takes_the_backends_and_a_fixed_one_is_held(tmp_path: Path) -> None:
    save(model("Relu"), tmp_path / "model.onnx")
    with in_this_process():
        fixed = OpenVino(batch_size=3).measure_export(tmp_path, BRIEF)
        assert fixed.state == "compile_failed" and "batches of 1, not 3" in fixed.reason
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in ("x", "y")]
        graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", ends[:1], ends[1:])
        save(
            helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)]),
            tmp_path / "model.onnx",
        )
        assert OpenVino(batch_size=3).measure_export(tmp_path, BRIEF).ok


def test_nncf_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    RUNTIME.network(Workload(MIXED), network(Workload(MIXED)))
    assert capfd.readouterr().out == ""
