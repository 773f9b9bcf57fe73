"""Another machine, on which a measuring agent runs: see `nas agent`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Annotated

from onnx import ModelProto
from pydantic import Field

from hardware.agent.client import Client
from hardware.agent.secret import VARIABLE, SecretError, read_secret
from hardware.agent.wire import WireError
from hardware.backends._onnx import exported_model, float_models, quantized
from hardware.backends._role import Backend, Progress, UnavailableError, Workload
from hardware.device import Device
from hardware.measurement import Measurement, MeasurementError
from hardware.timing import TimingSettings


class Remote(Backend):
    """ONNX Runtime on the processor of another machine, through the measuring agent there; float32 and int8."""

    host: str = "127.0.0.1"
    """Name or address of the agent's machine."""
    port: Annotated[int, Field(ge=1, le=65535)] = 7077
    """Port that the agent listens on."""
    secret_file: str = ""
    """Private file with the secret that the agent has too; without it, the environment variable is read."""
    secret_env: str = VARIABLE
    """Environment variable with the secret."""

    runtimes = ("onnxruntime", "torch")
    supports_integer = True

    def measure(
        self, jobs: Sequence[Workload], settings: TimingSettings, progress: Progress | None = None
    ) -> list[Measurement]:
        """The agent's measurement of each network.

        Raises:
            UnavailableError: the agent cannot be reached, or has another secret.
        """
        models = [
            model if isinstance(model, MeasurementError) else self._deployed(job, model)
            for job, model in zip(jobs, float_models(jobs, self.batch_size), strict=True)
        ]
        return self._measured(models, settings, progress)

    def measure_export(self, directory: Path, settings: TimingSettings) -> Measurement:
        """The agent's measurement of `model.int8.onnx` where there is one, else of `model.onnx`.

        Raises:
            UnavailableError: the agent cannot be reached, or has another secret.
        """
        try:
            return self._measured([exported_model(directory)], settings)[0]
        except MeasurementError as error:
            return Measurement.failed(error)

    def check(self) -> None:
        """The agent answers.

        Raises:
            UnavailableError: it cannot be reached, or has another secret.
        """
        super().check()
        _device(self)

    def key(self, device: Device | None = None) -> str:
        """The agent's machine and its runtime, and the packages here that make the files; not where the agent is."""
        here, there = device or Device.here(), _device(self)
        backend = {"kind": self.kind(), "threads": self.threads, "batch_size": self.batch_size}
        exporter = {package: here.version(package) for package in self.runtimes}
        return there.key(("onnxruntime",), backend=backend, exporter=exporter)

    @contextmanager
    def connected(self) -> Iterator[Client]:
        """A connection to the agent.

        Raises:
            UnavailableError: it cannot be reached, has another secret, or breaks off.
        """
        place = f"the agent at {self.host}:{self.port}"
        try:
            secret = read_secret(Path(self.secret_file) if self.secret_file else None, self.secret_env)
            with Client.connected(self.host, self.port, secret) as client:
                yield client
        except SecretError as error:
            raise UnavailableError(f"{place}: {error}") from error
        except OSError as error:
            mend = f"on that machine, start: nas agent --port {self.port} --host ADDRESS --secret-file FILE"
            raise UnavailableError(f"{place} cannot be reached ({error}); {mend}") from error
        except WireError as error:
            mend = "give both sides the same secret and version; an agent serves one client at a time"
            raise UnavailableError(f"{place} does not serve us: {error}; {mend}") from error

    def _deployed(self, job: Workload, model: ModelProto) -> bytes:
        """The file of a job's network, with its integer blocks in int8."""
        return quantized(job, model, self.batch_size).SerializeToString()

    def _measured(
        self, models: Sequence[bytes | MeasurementError], settings: TimingSettings, progress: Progress | None = None
    ) -> list[Measurement]:
        """The measurement of each model, or of the failure in its place."""
        ready = [model for model in models if isinstance(model, bytes)]
        if not ready:
            return [Measurement.failed(model) for model in models if isinstance(model, MeasurementError)]
        with self.connected() as client:
            found = iter(client.measure(ready, self.threads, self.batch_size, settings, progress))
        return [Measurement.failed(model) if isinstance(model, MeasurementError) else next(found) for model in models]


@cache
def _device(remote: Remote) -> Device:
    """The agent's machine; asked once."""
    with remote.connected() as client:
        return client.describe()
