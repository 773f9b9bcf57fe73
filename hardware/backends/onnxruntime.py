"""ONNX Runtime: float32, and int8 where a block's policy says so."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import onnxruntime
from onnx import ModelProto

from hardware.backends._cuda import CudaBackend
from hardware.backends._local import Prepared
from hardware.backends._onnx import exported_model, float_models, quantized
from hardware.backends._role import Workload
from hardware.device import Device
from hardware.measurement import MeasurementError
from hardware.onnx_kernels import executed_kernels
from hardware.onnx_session import OnnxSession, require
from searchspaces.architecture import Architecture


class OnnxRuntime(CudaBackend):
    """The graph of the exported network, operators one after the other; int8 in blocks with an integer policy."""

    runtimes = ("onnxruntime", "torch")
    supports_integer = True

    def prepared(self, jobs: Sequence[Workload]) -> Iterator[Prepared | MeasurementError]:
        """A session for each network."""
        for job, model in zip(jobs, float_models(jobs, self.batch_size), strict=True):
            yield model if isinstance(model, MeasurementError) else self._network(job, model)

    def prepared_export(self, directory: Path) -> Prepared | MeasurementError:
        """A session for `model.int8.onnx` where there is one, else for `model.onnx`."""
        try:
            return self._session(exported_model(directory))
        except MeasurementError as error:
            return error

    def kernels(self, architecture: Architecture) -> tuple[str, ...] | None:
        """The operators of the network's session on the processor, as the runtime's profile lists them."""
        if self.device != "cpu":
            return None
        job = Workload(architecture)
        (model,) = float_models([job], self.batch_size)
        return None if isinstance(model, MeasurementError) else executed_kernels(quantized(job, model, self.batch_size))

    def cuda_fault(self) -> str:
        """What the runtime offers instead of a GPU."""
        try:
            require("cuda")
        except MeasurementError as error:
            return f"{error.reason}; pip install onnxruntime-gpu in place of onnxruntime"
        return ""

    def key(self, device: Device | None = None) -> str:
        """With the version of the module itself on a GPU, whose package has another name."""
        key = super().key(device)
        if self.device == "cpu":
            return key
        return json.dumps({**json.loads(key), "onnxruntime": onnxruntime.__version__}, sort_keys=True)

    def _network(self, job: Workload, model: ModelProto) -> Prepared | MeasurementError:
        """A session of a job's network as it is deployed."""
        try:
            return self._session(quantized(job, model, self.batch_size).SerializeToString())
        except MeasurementError as error:
            return error

    def _session(self, model: bytes) -> Prepared:
        """A run of a model.

        Raises:
            MeasurementError: the runtime refuses it.
        """
        return Prepared(OnnxSession(model, self.threads, self.batch_size, self.device).run, len(model))
