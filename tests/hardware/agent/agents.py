"""A measuring agent in a process of its own, on a free port of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SECRET = b"a secret of the tests, not of anyone else"
VARIABLE = "NAS_AGENT_SECRET"


@dataclass(frozen=True)
class RunningAgent:
    """A process that listens on a port, and the file with what it says."""

    process: subprocess.Popen[bytes]
    port: int
    said: Path


@contextmanager
def running_agent(folder: Path, *arguments: str) -> Iterator[RunningAgent]:
    """An agent with the secret of the tests, ended on the way out."""
    said = folder / "agent.log"
    command = [sys.executable, "-m", "hardware.agent", "--port", "0", *arguments]
    environment = {**os.environ, VARIABLE: SECRET.decode()}
    with said.open("wb") as log, subprocess.Popen(command, stderr=log, env=environment) as process:
        try:
            yield RunningAgent(process, _port(process, said), said)
        finally:
            process.terminate()


def _port(process: subprocess.Popen[bytes], said: Path) -> int:
    """The port that the agent's first line names."""
    while not (text := said.read_text()).count("\n"):
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
        raise RuntimeError(said.read_text())
    return int(text.splitlines()[0].rpartition(":")[2])
