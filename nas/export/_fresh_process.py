"""Runs the files of bundles as their model cards say, in processes that have none of this project's packages.

    python -I -B _fresh_process.py

Each line on stdin is the path of a job, a JSON file: `bundle` (folder), `images` (an npz file with `pixels` [n c h w]),
`outputs` (npz file to write: the logits [n k] of each file), `failures` (JSON file to write: by name, what went wrong
with a file), `log` (file for all that is printed), `refused` (packages), `threads`, `batch_size`, `input` (scale, mean,
std) and `files` (by name: `load` and `run`, the card's code, and `batch_size` where the file takes one alone). Each job
is done by a process of its own, forked where the frameworks are loaded already; its exit code is printed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


class Refusal(MetaPathFinder):
    """Finds none of these packages, wherever they are installed."""

    def __init__(self, packages: Sequence[str]) -> None:
        self.packages = frozenset(packages)

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        """Leaves every other module to the next finder.

        Raises:
            ImportError: the module belongs to a refused package.
        """
        if fullname.partition(".")[0] in self.packages:
            raise ImportError(f"{fullname} must not be needed")


def serve() -> None:
    """Does jobs until there are no more."""
    import torch.export  # noqa: F401

    with contextlib.suppress(ImportError):
        import onnxruntime  # noqa: F401
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in sys.stdin:
        process = os.fork()
        if not process:
            _do(json.loads(Path(line.strip()).read_text(encoding="utf-8")))
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)


def _do(job: dict[str, Any]) -> NoReturn:
    """One job, in the process that ends with it."""
    code = 1
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1), os.dup2(log, 2)
    try:
        failures = run(job)
        Path(job["failures"]).write_text(json.dumps(failures), encoding="utf-8")
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)


def run(job: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Runs every file; returns the failures."""
    sys.meta_path.insert(0, Refusal(job["refused"]))
    os.chdir(job["bundle"])
    sys.path.insert(0, job["bundle"])
    import torch

    torch.set_num_threads(job["threads"])
    with np.load(job["images"], allow_pickle=False) as images:
        pixels = images["pixels"]
    outputs: dict[str, Array] = {}
    failures = {}
    for name, file in job["files"].items():
        try:
            outputs[name] = _outputs(file, pixels, job)
        except Exception as error:
            unsupported = isinstance(error, NotImplementedError) or type(error).__name__ == "NotImplemented"
            state = "unsupported_operator" if unsupported else "compile_failed"
            failures[name] = {"state": state, "reason": f"{type(error).__name__}: {error}"}
    np.savez(job["outputs"], **outputs)  # type: ignore[arg-type]
    return failures


def _outputs(file: dict[str, Any], pixels: npt.NDArray[Any], job: dict[str, Any]) -> Array:
    """Logits of all images; a last batch that is too small for the file is filled up with zeros."""
    scope: dict[str, Any] = {}
    exec(file["load"], scope)
    size = file["batch_size"] or job["batch_size"]
    found = []
    for x in _batches(pixels, size, job["input"]):
        missing = size - len(x) if file["batch_size"] else 0
        scope["x"] = np.concatenate([x, np.zeros((missing, *x.shape[1:]), np.float32)]) if missing else x
        exec(file["run"], scope)
        found.append(scope["logits"][: len(x)])
    return np.concatenate(found)


def _batches(pixels: npt.NDArray[Any], size: int, contract: dict[str, Any]) -> Iterator[Array]:
    """Standardized images, by the input contract of `config.json`."""
    mean, std = (np.array(contract[name], np.float32)[:, None, None] for name in ("mean", "std"))
    for start in range(0, len(pixels), size):
        batch = pixels[start : start + size].astype(np.float32)
        yield (batch * np.float32(contract["scale"]) - mean) / std


if __name__ == "__main__":
    serve()
