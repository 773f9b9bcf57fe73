"""One network, one input: every runtime here computes the same outputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx import ModelProto

from hardware.backends._local import float_module
from hardware.backends._onnx import float_models, quantized
from hardware.backends._role import Workload
from hardware.backends._torch import TorchBackend
from hardware.backends.executorch import ExecuTorch, LoadedProgram
from hardware.backends.openvino import OpenVino
from hardware.backends.torch_compile import TorchCompile
from hardware.backends.torch_eager import TorchEager
from hardware.onnx_session import Array, OnnxSession, normal
from searchspaces.architecture import Architecture
from tests.hardware.networks import CONVOLUTIONAL, FLOAT, INPUT, MIXED

BATCH = 2


def graph(job: Workload) -> ModelProto:
    """The job's float graph."""
    (found,) = float_models([job], BATCH)
    assert isinstance(found, ModelProto)
    return found


def in_torch(backend: TorchBackend, job: Workload, x: Array) -> Array:
    """What a torch backend makes of the exported program: the checks of shapes in the tests cannot be compiled."""
    sample = torch.from_numpy(x)
    program = torch.export.export(float_module(job).requires_grad_(False), (sample,)).module()
    with backend.settings():
        return backend.function(program, sample)(sample).numpy()


def in_onnxruntime(job: Workload, x: Array) -> Array:
    """What the session computes."""
    return OnnxSession(quantized(job, graph(job), BATCH).SerializeToString(), 1, BATCH).outputs(x)


def in_openvino(job: Workload, x: Array) -> Array:
    """What the compiled model computes."""
    pytest.importorskip("openvino")
    pytest.importorskip("nncf")
    from hardware.openvino_model import compiled

    return compiled(OpenVino(batch_size=BATCH).network(job, graph(job)), 1)([x])[0]


def in_executorch(job: Workload, x: Array) -> Array:
    """What the lowered program computes."""
    pytest.importorskip("executorch")
    sample = torch.from_numpy(x)
    return LoadedProgram(ExecuTorch(batch_size=BATCH).lowered(float_module(job), sample)).execute(sample).numpy().copy()


@pytest.mark.slow
@pytest.mark.parametrize("network", [FLOAT, CONVOLUTIONAL], ids=["mixing", "convolutional"])
def test_float_networks_have_the_same_outputs_everywhere(network: Architecture) -> None:
    x, job = normal(BATCH, INPUT), Workload(network)
    expected = in_torch(TorchEager(), job, x)
    found = [in_torch(TorchCompile(), job, x), in_onnxruntime(job, x), in_openvino(job, x), in_executorch(job, x)]
    for outputs in found:
        np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_integer_networks_are_as_near_to_each_other_as_to_the_float_one() -> None:
    x = normal(BATCH, INPUT)
    job = Workload(MIXED, calibration=normal(32, INPUT))
    expected = in_torch(TorchEager(), job, x)
    for outputs in (in_onnxruntime(job, x), in_openvino(job, x)):
        assert 0 < np.abs(outputs - expected).max() < 0.1 * np.abs(expected).max()
