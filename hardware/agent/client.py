"""The other side of an agent: asks it to measure files."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from hardware.agent.wire import LEAVE, Channel, Header, WireError, greet_agent
from hardware.device import Device
from hardware.measurement import Measurement
from hardware.timing import TimingSettings

_CONNECT_S = 10.0
_ANSWER_S = 120.0

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Client:
    """One connection to an agent."""

    channel: Channel

    @classmethod
    @contextmanager
    def connected(cls, host: str, port: int, secret: bytes) -> Iterator[Client]:
        """A connection to the agent at an address, closed in the end.

        Raises:
            OSError: nobody listens there.
            WireError: it is no agent, or has another secret.
        """
        with socket.create_connection((host, port), timeout=_CONNECT_S) as connection:
            connection.settimeout(None)
            client = cls(greet_agent(connection, secret))
            yield client
            client.channel.send(LEAVE, within_s=_ANSWER_S)

    def describe(self) -> Device:
        """The agent's machine.

        Raises:
            WireError: the agent does not answer as it should.
        """
        try:
            return Device(**self._ask({"do": "describe"})["device"])
        except (KeyError, TypeError) as error:
            raise WireError(f"no description of a device of this version: {error}") from error

    def measure(
        self,
        models: Sequence[bytes],
        threads: int,
        batch_size: int,
        settings: TimingSettings,
        progress: Progress | None = None,
    ) -> list[Measurement]:
        """The measurement of each serialized ONNX model, all of them visited in random order.

        Raises:
            WireError: the agent does not answer as it should.
        """
        for model in models:
            self._ask({"do": "load"}, model)
        request = {"do": "measure", "threads": threads, "batch_size": batch_size, "settings": asdict(settings)}
        answer = self._ask(request, progress=progress)
        try:
            found = [Measurement.from_json(json.dumps(item)) for item in answer["measurements"]]
        except (KeyError, TypeError, ValueError) as error:
            raise WireError(f"no measurements of this version: {error}") from error
        if len(found) != len(models):
            raise WireError(f"{len(found)} measurements of {len(models)} models")
        return found

    def _ask(self, request: Header, body: bytes = b"", progress: Progress | None = None) -> Header:
        """The answer to a request; what comes before it is progress, or a sign of life."""
        self.channel.send(request, body, within_s=_ANSWER_S)
        while True:
            answer, _ = self.channel.receive(within_s=_ANSWER_S)
            if "progress" in answer and progress:
                done, total = answer["progress"]
                progress(int(done), int(total))
            if not {"progress", "alive"} & answer.keys():
                return answer
