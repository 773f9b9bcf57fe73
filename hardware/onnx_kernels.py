"""The kernels that ONNX Runtime executes for a model, from the runtime's own profile."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import ModelProto


def executed_kernels(model: ModelProto) -> tuple[str, ...]:
    """Names of the operators that one run on the processor executes after all fusions, in order.

    Args:
        model: with one input, all of whose axes are known.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level, options.enable_profiling = 1, 3, True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "run")
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        (source,) = session.get_inputs()
        session.run(None, {source.name: np.zeros(source.shape, dtype=np.float32)})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return tuple(event["args"]["op_name"] for event in events if event["name"].endswith("_kernel_time"))
