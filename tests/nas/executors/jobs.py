"""Jobs for the tests, in a module that workers can import."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from nas.executors._context import Context
from nas.executors._pool import Job, Tell


@dataclass(frozen=True)
class Square(Job[int]):
    """The square of a number; those that are `slow` take longer than the others."""

    number: int
    seconds: float = 0.0

    def run(self, context: Context, tell: Tell) -> int:
        tell(f"squaring {self.number}")
        time.sleep(self.seconds)
        return self.number**2


@dataclass(frozen=True)
class Weights(Job[tuple[str, set[int]]]):
    """The SHA-256 of all shared weights, and how they are aligned."""

    def run(self, context: Context, tell: Tell) -> tuple[str, set[int]]:
        parameters = list(context.trainee.supernet.parameters())
        content = b"".join(parameter.detach().numpy().tobytes() for parameter in parameters)
        return hashlib.sha256(content).hexdigest(), {parameter.data_ptr() % 64 for parameter in parameters}


@dataclass(frozen=True)
class Mapping(Job[tuple[str, bool]]):
    """The file that holds the shared weights in memory, and whether recalibration left them as they were."""

    def run(self, context: Context, tell: Tell) -> tuple[str, bool]:
        before = Weights().run(context, tell)
        context.evaluator.error(context.trainee.placements.space.sample(np.random.default_rng(0), 1)[0])
        place = next(iter(context.trainee.supernet.parameters())).data_ptr()
        for line in Path("/proc/self/maps").read_text().splitlines():
            start, end = (int(text, 16) for text in line.split()[0].split("-"))
            if start <= place < end:
                return line.partition("/")[2], Weights().run(context, tell) == before
        return "", False


@dataclass(frozen=True)
class Surroundings(Job[tuple[int, float]]):
    """The number of threads, and a random number."""

    def run(self, context: Context, tell: Tell) -> tuple[int, float]:
        return torch.get_num_threads(), float(torch.rand(()))


@dataclass(frozen=True)
class Raises(Job[int]):
    """Fails."""

    words: str

    def run(self, context: Context, tell: Tell) -> int:
        raise LookupError(self.words)


@dataclass(frozen=True)
class Dies(Job[int]):
    """Kills its process, but for the last of these times; keeps count in a folder."""

    folder: Path
    times: int

    def run(self, context: Context, tell: Tell) -> int:
        died = len(list(self.folder.iterdir()))
        if died < self.times:
            (self.folder / str(died)).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return died


@dataclass(frozen=True)
class Process(Job[int]):
    """The number of its process, told at once; it computes for a while."""

    seconds: float = 0.0

    def run(self, context: Context, tell: Tell) -> int:
        tell(str(os.getpid()))
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            pass
        return os.getpid()


@dataclass(frozen=True)
class Unsendable(Job[int]):
    """A job that cannot be pickled."""

    reason: object

    def run(self, context: Context, tell: Tell) -> int:
        return 1
