"""Runtimes that would report their use to their makers do not: no process here opens what they would send it with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SESSION = """
import sys
from pathlib import Path
from hardware.onnx_session import OnnxSession
OnnxSession(Path(sys.argv[1]).read_bytes(), 1, 1)
"""
QUANTIZER = """
import hardware
from nncf.telemetry import telemetry
from unittest.mock import MagicMock
assert telemetry is MagicMock or isinstance(telemetry, MagicMock), telemetry
"""


def run(code: str, home: Path, *arguments: str) -> None:
    """Runs code in a process whose home is an empty folder."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("ORT_DISABLE_TELEMETRY", "NNCF_CI")
    }
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-B", "-c", code, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_onnxruntime_keeps_no_events_and_no_device_id(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", ends[:1], ends[1:])
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, ir_version=10, opset_imports=opset), tmp_path / "model.onnx")
    home = tmp_path / "home"
    home.mkdir()
    run(SESSION, home, str(tmp_path / "model.onnx"))
    assert list(home.rglob("*")) == []


def test_nncf_has_nothing_to_send_with(tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    run(QUANTIZER, tmp_path)
