"""Whether the files of a bundle do what the trained network does, found out in a process without this project."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hardware.measurement import MeasurementError
from nas.export import _fresh_process
from nas.export._role import Deployable, ExportError, Format

TOLERANCE = 1e-4
"""Largest difference from the network's logits that a float file may have, relative to the largest logit."""

_BATCH = 256
_PROJECT = ("searchspaces", "hardware", "predictors", "nas")
_FRAMEWORK = "torch"


@dataclass(frozen=True)
class Verified:
    """What one file computes.

    Attributes:
        accuracy: share of the test images that it answers right, by the task's own measure.
        absolute: largest difference of a logit from the float32 network's.
        relative: that over the network's largest logit.
    """

    accuracy: float
    absolute: float
    relative: float


@dataclass(frozen=True)
class Verification:
    """What the files of a bundle compute.

    Attributes:
        network: of the float32 network itself.
        files: of each file, by name.
        refused: files that hold an operator which their runtime does not have, by name.
    """

    network: Verified
    files: dict[str, Verified]
    refused: dict[str, MeasurementError]


def verify(model: Deployable, formats: Sequence[Format], bundle: Path) -> Verification:
    """Runs the files of these formats on all test images.

    Raises:
        ExportError: a file cannot be loaded, or a float file's outputs are not the network's.
        OSError: the file system is full.
    """
    used = [item for item in formats if item.run]
    expected, targets = _expected(model)
    with tempfile.TemporaryDirectory(dir=bundle.parent, prefix=".verify-") as scratch:
        outputs, failures = _run(_job(model, used, bundle, Path(scratch)), Path(scratch)) if used else ({}, {})
    refused = _refusals(failures)
    working = [item for item in used if item.file not in refused]
    files = {item.file: _verified(model, torch.from_numpy(outputs[item.file]), expected, targets) for item in working}
    for item in working:
        if item.exact and not files[item.file].relative <= TOLERANCE:
            raise ExportError(
                f"{item.file}: its outputs differ from the network's by {files[item.file].absolute:.3g}, which is"
                f" {files[item.file].relative:.3g} of the largest one; at most {TOLERANCE:g} is allowed"
            )
    return Verification(_verified(model, expected, expected, targets), files, refused)


def _expected(model: Deployable) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of the network, and the targets, over the test images."""
    with torch.inference_mode():
        pairs = [(model.network(inputs), targets) for inputs, targets in model.task.test(_BATCH)]
    return torch.cat([logits for logits, _ in pairs]), torch.cat([targets for _, targets in pairs])


def _job(model: Deployable, formats: Sequence[Format], bundle: Path, scratch: Path) -> dict[str, Any]:
    """What the fresh process is told; the images lie beside."""
    images = scratch / "images.npz"
    np.savez(images, pixels=model.task.splits.test.pixels)
    standard = model.task.splits.standardization
    packages = {type(module).__module__.partition(".")[0] for module in model.network.modules()}
    return {
        "bundle": str(bundle.absolute()),
        "images": str(images.absolute()),
        "outputs": str(scratch.absolute() / "outputs.npz"),
        "failures": str(scratch.absolute() / "failures.json"),
        "log": str(scratch.absolute() / "log.txt"),
        "refused": sorted({*_PROJECT, *packages} - {_FRAMEWORK}),
        "threads": model.backend.threads,
        "batch_size": _BATCH,
        "input": {"scale": standard.scale, "mean": standard.mean, "std": standard.std},
        "files": {
            item.file: {"load": item.load, "run": item.run, "batch_size": item.batch_size(bundle)} for item in formats
        },
    }


def _run(job: dict[str, Any], scratch: Path) -> tuple[dict[str, npt.NDArray[np.float32]], dict[str, dict[str, str]]]:
    """The outputs and the failures of the files, by name.

    Raises:
        ExportError: the process failed as a whole.
    """
    path = scratch.absolute() / "job.json"
    path.write_text(json.dumps(job), encoding="utf-8")
    if code := _done(path):
        lines = Path(job["log"]).read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:]
        raise ExportError(f"{job['bundle']}: verification failed with exit code {code}: {' | '.join(lines)}")
    with np.load(job["outputs"], allow_pickle=False) as outputs:
        return dict(outputs), json.loads(Path(job["failures"]).read_text(encoding="utf-8"))


def _done(job: Path) -> int:
    """The exit code of the process that does a job.

    Raises:
        ExportError: no process can be started.
    """
    server = _server(os.getpid())
    if server.poll() is not None:
        _server.cache_clear()
        server = _server(os.getpid())
    assert server.stdin is not None and server.stdout is not None
    try:
        print(job, file=server.stdin, flush=True)
        return int(server.stdout.readline())
    except (OSError, ValueError) as error:
        raise ExportError(f"verification ended with exit code {server.wait()}") from error


@cache
def _server(owner: int) -> subprocess.Popen[str]:
    """The process that does this process's jobs; it ends with its standard input."""
    command = [sys.executable, "-I", "-B", str(Path(_fresh_process.__file__).absolute())]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _refusals(failures: dict[str, dict[str, str]]) -> dict[str, MeasurementError]:
    """Files that the runtime has no operator for, with its words.

    Raises:
        ExportError: another failure is among them.
    """
    for name, failure in failures.items():
        if failure["state"] != "unsupported_operator":
            raise ExportError(f"{name} does not work by itself: {failure['reason']}")
    return {name: MeasurementError("unsupported_operator", failure["reason"]) for name, failure in failures.items()}


def _verified(model: Deployable, logits: torch.Tensor, expected: torch.Tensor, targets: torch.Tensor) -> Verified:
    """The comparison for one file.

    Raises:
        ExportError: the outputs have another shape than the network's.
    """
    if logits.shape != expected.shape:
        raise ExportError(f"outputs have the shape {tuple(logits.shape)}, not {tuple(expected.shape)}")
    absolute, largest = float((logits - expected).abs().max()), float(expected.abs().max())
    return Verified(1.0 - model.task.error(logits, targets), absolute, absolute / largest if largest else absolute)
