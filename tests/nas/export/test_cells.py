"""Networks of cells in every exported form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from nas.export.onnx import Onnx
from nas.export.onnx_int8 import OnnxInt8
from nas.export.python_source import source
from nas.export.safetensors import Safetensors
from nas.export.torch_export import TorchExport
from nas.twins import integer_twin
from searchspaces.graph import Graph
from tests.nas.export.networks import deployable

POLICY = {"kind": "integer"}
CELL: dict[str, Any] = {"kind": "cell", "filters": 4, "stages": [1, 1], "nodes": 2, "quantization": POLICY}
NAS_BENCH_201: dict[str, Any] = {"kind": "nas_bench_201", "filters": 4, "cells": 1, "quantization": POLICY}
NETWORKS = pytest.mark.parametrize("network", [CELL, NAS_BENCH_201], ids=["cell", "nas_bench_201"])


def run(path: Path, inputs: np.ndarray) -> np.ndarray:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"input": inputs})[0]


@NETWORKS
def test_the_files_compute_the_same(network: dict[str, Any], tmp_path: Path) -> None:
    model = deployable(network)
    (onnx_file,), (program,) = Onnx().write(model, tmp_path), TorchExport().write(model, tmp_path)
    inputs = next(model.task.test(5))[0]
    with torch.inference_mode():
        expected = model.network(inputs).numpy()
        np.testing.assert_allclose(run(onnx_file, inputs.numpy()), expected, rtol=0, atol=1e-5)
        found = torch.export.load(program).module()(inputs).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@NETWORKS
def test_the_int8_file_is_as_near_to_what_fake_quantization_promised_as_that_is_to_float(
    network: dict[str, Any], tmp_path: Path
) -> None:
    """The file rounds the outputs of layers as well as their inputs: the same kind of error once more."""
    model = deployable(network)
    (path,) = OnnxInt8().write(model, tmp_path)
    promised = model.architecture.build()
    promised.load_state_dict(model.state)
    inputs = torch.from_numpy(model.calibration)
    with torch.inference_mode():
        expected, plain = promised.eval()(inputs).numpy(), model.network(inputs).numpy()
    off, rounding = run(path, model.calibration) - expected, plain - expected
    assert 0 < np.square(rounding).mean() < 0.1**2 * expected.var()
    assert np.square(off).mean() < 2**2 * np.square(rounding).mean()


@NETWORKS
def test_the_source_computes_the_same(network: dict[str, Any], tmp_path: Path) -> None:
    model = deployable(network)
    Safetensors().write(model, tmp_path)
    text = source(model)
    assert "return Wired(" in text and "class Wired(nn.Sequential)" in text
    scope: dict[str, Any] = {"__file__": str(tmp_path / "model.py"), "__name__": "model"}
    exec(compile(text, "model.py", "exec"), scope)
    inputs = next(model.task.test(9))[0]
    with torch.inference_mode():
        torch.testing.assert_close(scope["load"]()(inputs), model.network(inputs), rtol=0, atol=1e-6)


def test_the_integer_twin_of_a_network_of_cells_is_integer_in_every_block_with_weights() -> None:
    plain = deployable({key: value for key, value in CELL.items() if key != "quantization"}).architecture
    twin = integer_twin(plain)
    assert any(isinstance(cell, Graph) for layer in twin.layers if isinstance(layer, tuple) for cell in layer)
    policies = {place.path: place.part.quantization.integer for place in twin.blocks()}
    assert {path for path, integer in policies.items() if not integer} == {
        path for path in policies if "sum" in path or "concatenation" in path
    }
    assert [place.path for place in twin.blocks()] == [place.path for place in plain.blocks()]
