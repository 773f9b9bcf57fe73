"""OpenVINO on the processor: float32, and int8 where a block's policy says so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from onnx import ModelProto

from hardware.backends._local import LocalBackend, Prepared
from hardware.backends._onnx import calibration, exported_model, float_models, integer_blocks
from hardware.backends._role import Workload
from hardware.measurement import MeasurementError
from hardware.onnx_session import normal
from hardware.openvino_model import compiled, quantize, read, refusals

if TYPE_CHECKING:
    import openvino


class OpenVino(LocalBackend):
    """The graph of the exported network in one stream; int8 by NNCF in blocks with an integer policy."""

    runtimes = ("openvino", "nncf", "torch")
    extra = "openvino"
    supports_integer = True

    def prepared(self, jobs: Sequence[Workload]) -> Iterator[Prepared | MeasurementError]:
        """A compiled model for each network."""
        for job, model in zip(jobs, float_models(jobs, self.batch_size), strict=True):
            yield model if isinstance(model, MeasurementError) else self._prepare(job, model)

    def prepared_export(self, directory: Path) -> Prepared | MeasurementError:
        """A compiled model of `model.int8.onnx` where there is one, else of `model.onnx`."""
        try:
            content = exported_model(directory)
            return self._program(read(content, self.batch_size), len(content))
        except MeasurementError as error:
            return error

    def network(self, job: Workload, model: ModelProto) -> openvino.Model:
        """The job's network as it is deployed, from its float graph.

        Raises:
            MeasurementError: OpenVINO or NNCF refuses it.
        """
        found, integers = read(model.SerializeToString(), self.batch_size), set(integer_blocks(job))
        if not integers:
            return found
        floats = [index for index in range(len(job.architecture.blocks())) if index not in integers]
        return quantize(found, calibration(job, self.batch_size), floats)

    def _prepare(self, job: Workload, model: ModelProto) -> Prepared | MeasurementError:
        """A run of the job's network."""
        try:
            network = self.network(job, model)
            return self._program(network, _constant_bytes(network))
        except MeasurementError as error:
            return error

    def _program(self, model: openvino.Model, model_bytes: int) -> Prepared:
        """A run of a model, on one random batch whose memory is shared with the runtime.

        Raises:
            MeasurementError: OpenVINO refuses it.
        """
        request = compiled(model, self.threads).create_infer_request()
        x = normal(self.batch_size, tuple(model.input(0).shape)[1:])

        def run() -> None:
            request.infer([x], share_inputs=True, share_outputs=True)

        with refusals():
            run()
        return Prepared(run, model_bytes)


def _constant_bytes(model: openvino.Model) -> int:
    """Size of the weights."""
    constants = (node for node in model.get_ops() if node.get_type_name() == "Constant")
    return sum(int(node.get_byte_size()) for node in constants)
