"""The process that measures for an agent: a network that crashes takes this process with it, not the agent.

Reads a request from standard input, and writes JSON lines to standard output: the progress, then the measurements.
"""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from hardware.blocks import Timing
from hardware.measurement import Measurement, MeasurementError
from hardware.onnx_session import OnnxSession
from hardware.timing import Program, TimingSettings, measure_in_visits


@dataclass(frozen=True)
class Request:
    """What a client wants to know.

    Attributes:
        models: ONNX files.
        threads: of one operator.
        batch_size: samples in one run.
        settings: how long it may take.
    """

    models: tuple[Path, ...]
    threads: int
    batch_size: int
    settings: TimingSettings


def measure(request: Request, lines: TextIO) -> list[Measurement]:
    """The measurement of each model, visited in random order; the progress goes to the lines."""
    sessions = [_session(path, request) for path in request.models]
    programs = [Program(session.run) for session in sessions if isinstance(session, OnnxSession)]
    timings = iter(
        measure_in_visits(
            programs, request.settings, progress=lambda done, total: _write(lines, {"progress": [done, total]})
        )
    )
    return [
        Measurement.failed(session) if isinstance(session, MeasurementError) else _measurement(next(timings), path)
        for session, path in zip(sessions, request.models, strict=True)
    ]


def refuse_external_data(model: bytes) -> None:
    """Refuses a model that names further files, or places in memory, from which its weights are to be taken.

    Such a tensor has an entry with the key `location` (onnx.proto, TensorProto.external_data). In the serialized form
    that word follows its own length, 8, whose last byte is 8, or 0 in the longer forms that parsers accept too. A model
    without these bytes has no such entry; one in which something else has just this name is refused with them.

    Raises:
        MeasurementError: the model has external data.
    """
    if re.search(rb"[\x00\x08]location", model):
        raise MeasurementError("compile_failed", "the model keeps weights outside of its file (external data)")


def _session(path: Path, request: Request) -> OnnxSession | MeasurementError:
    """A session of one model."""
    try:
        model = path.read_bytes()
        refuse_external_data(model)
        return OnnxSession(model, request.threads, request.batch_size)
    except MeasurementError as error:
        return error


def _measurement(timing: Timing | Exception, path: Path) -> Measurement:
    """The measurement of a model that was timed, or that failed on the way."""
    if isinstance(timing, Timing):
        return Measurement.of(timing, model_bytes=path.stat().st_size)
    if isinstance(timing, TimeoutError):
        return Measurement.failed(MeasurementError("timeout", str(timing)))
    if isinstance(timing, MemoryError):
        return Measurement.failed(MeasurementError("out_of_memory", str(timing)))
    return Measurement.failed(MeasurementError("crashed", f"{type(timing).__name__}: {timing}"))


def _write(lines: TextIO, line: dict[str, Any]) -> None:
    print(json.dumps(line, allow_nan=False), file=lines, flush=True)


def main() -> None:
    """Answers one request; whatever libraries print goes to standard error."""
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    data = json.load(sys.stdin)
    models = tuple(Path(model) for model in data["models"])
    request = Request(models, data["threads"], data["batch_size"], TimingSettings(**data["settings"]))
    _write(lines, {"measurements": [found.to_json() for found in measure(request, lines)]})


if __name__ == "__main__":
    main()
