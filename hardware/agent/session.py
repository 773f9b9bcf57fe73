"""What an agent does for one client whose secret is right."""

from __future__ import annotations

import json
import math
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from hardware.agent.wire import LEAVE, Channel, Header, WireError
from hardware.agent.worker import Request
from hardware.device import Device
from hardware.measurement import Measurement, MeasurementError
from hardware.timing import TimingSettings

MODEL_BYTES = 2**29
MODELS = 256
SESSION_BYTES = 2**31
FRAME_S = 120.0
BEAT_S = 10.0

Told = Callable[[Header], None]


class Session:
    """The requests of one connection.

    `describe` answers with the device, `load` keeps a model, `measure` measures all models since the last time.
    """

    def __init__(self, channel: Channel, folder: Path, environment: dict[str, str]) -> None:
        """Of a connection; its models are kept in the folder, and measured in processes of this environment."""
        self._channel, self._folder, self._environment = channel, folder, environment
        self._models: list[Path] = []
        self._bytes = 0

    def run(self) -> None:
        """Answers until the client takes its leave.

        Raises:
            WireError: the client left without a word, or broke the rules.
        """
        answers = {"describe": self._describe, "load": self._load, "measure": self._measure}
        while True:
            header, body = self._channel.receive(MODEL_BYTES, within_s=FRAME_S)
            if header == LEAVE:
                return
            answer = answers.get(str(header.get("do")))
            if answer is None:
                raise WireError(f"no request is called {header.get('do')!r}")
            self._tell(answer(header, body))

    def _describe(self, header: Header, body: bytes) -> Header:
        """What this machine is."""
        return {"device": asdict(Device.here())}

    def _load(self, header: Header, body: bytes) -> Header:
        """Keeps a model."""
        self._bytes += len(body)
        if len(self._models) >= MODELS or self._bytes > SESSION_BYTES:
            raise WireError(f"more than {MODELS} models or {SESSION_BYTES} bytes")
        self._models.append(self._folder / f"{len(self._models)}.onnx")
        self._models[-1].write_bytes(body)
        return {"loaded": len(self._models)}

    def _measure(self, header: Header, body: bytes) -> Header:
        """Measures the models together, and each by itself where one of them takes the process down."""
        request = _request(header, tuple(self._models))
        found = self._measured(request, self._tell)
        if isinstance(found, MeasurementError) and len(request.models) > 1:
            found = self._one_by_one(request)
        measurements = [Measurement.failed(found)] if isinstance(found, MeasurementError) else found
        for model in self._models:
            model.unlink()
        self._models, self._bytes = [], 0
        return {"measurements": [json.loads(measurement.to_json()) for measurement in measurements]}

    def _one_by_one(self, request: Request) -> list[Measurement]:
        """Each model in a process of its own."""
        measurements = []
        for done, model in enumerate(request.models, 1):
            alone = Request((model,), request.threads, request.batch_size, request.settings)
            found = self._measured(alone, lambda header: None)
            measurements += [Measurement.failed(found)] if isinstance(found, MeasurementError) else found
            self._tell({"progress": [done, len(request.models)]})
        return measurements

    def _measured(self, request: Request, tell: Told) -> list[Measurement] | MeasurementError:
        """What a new process measures, or how it died."""
        if not request.models:
            return []
        command = [sys.executable, "-m", "hardware.agent.worker"]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self._environment, cwd=self._folder
        ) as process:
            try:
                return self._followed(process, request, tell)
            finally:
                process.kill()

    def _followed(
        self, process: subprocess.Popen[bytes], request: Request, tell: Told
    ) -> list[Measurement] | MeasurementError:
        """Passes on the progress of a process until it is done, dead, or the client is gone."""
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(_serialized(request))
        process.stdin.close()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            selector.register(self._channel, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _ in selector.select(BEAT_S)}
                if self._channel in ready:
                    raise WireError("the client left during a measurement")
                if not ready:
                    self._tell({"alive": True})
                    continue
                line = json.loads(process.stdout.readline() or b"null")
                if line is None:
                    return MeasurementError("crashed", _death(process.wait()))
                if "measurements" in line:
                    return [Measurement.from_json(text) for text in line["measurements"]]
                tell(line)

    def _tell(self, header: Header) -> None:
        self._channel.send(header, within_s=FRAME_S)


def _request(header: Header, models: tuple[Path, ...]) -> Request:
    """What a client asks to be measured.

    Raises:
        WireError: a value is missing, of another type, or out of its range.
    """
    threads, batch_size, settings = (header.get(name) for name in ("threads", "batch_size", "settings"))
    if not (_whole(threads, 1, 1024) and _whole(batch_size, 1, 65536) and isinstance(settings, dict)):
        raise WireError("threads, batch_size or settings are missing or out of range")
    known = {field.name for field in fields(TimingSettings)}
    if not all(name in known and _finite(value) for name, value in settings.items()):
        raise WireError("the settings are not those of this version")
    return Request(models, int(threads or 1), int(batch_size or 1), TimingSettings(**settings))


def _serialized(request: Request) -> bytes:
    """For the standard input of the measuring process."""
    models = [str(model) for model in request.models]
    data = {"models": models, "threads": request.threads, "batch_size": request.batch_size}
    return json.dumps({**data, "settings": asdict(request.settings)}).encode()


def _whole(value: Any, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


def _finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and 0 <= value <= 1e9


def _death(code: int) -> str:
    """How a process ended."""
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return f"the measuring process ended with {how}"
