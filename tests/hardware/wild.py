"""Networks that misbehave, and a backend that lets them, for the tests of isolation."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from torch import nn

from hardware.backends._local import LocalBackend, Prepared
from hardware.backends._role import Workload
from hardware.measurement import MeasurementError
from searchspaces.architecture import Architecture
from searchspaces.blocks._role import Block
from searchspaces.part import Shape

SHAPE: Shape = (1,)


class Deed(Block):
    """A block that does something when it is prepared or run."""

    prepare: str = "nothing"
    run: str = "nothing"
    number: int = 0

    def build(self, shape: Shape) -> nn.Module:
        """Not used."""
        return nn.Identity()


class Wild(LocalBackend):
    """Does what the first block of a network says."""

    shared: str = "nothing"
    """Done before the first program, when a wild network is among the jobs."""
    references: str = "nothing"
    """Done instead of the reference networks."""

    def prepared(self, jobs: Sequence[Workload]) -> Iterator[Prepared | MeasurementError]:
        """Each job's deed."""
        deeds = [_deed(job) for job in jobs]
        if any(deed is not None and deed.prepare == "shared" for deed in deeds):
            do(self.shared)
        for job, deed in zip(jobs, deeds, strict=True):
            if deed is None and job.architecture.layers:
                do(self.references)
            yield _prepared(deed)

    def prepared_export(self, directory: Path) -> Prepared | MeasurementError:
        """The deed that the directory is called after."""
        return _prepared(Deed(prepare=directory.name))


def job(prepare: str = "nothing", run: str = "nothing", number: int = 0) -> Workload:
    """A network of one deed."""
    return Workload(Architecture(SHAPE, (Deed(prepare=prepare, run=run, number=number),)))


def do(what: str) -> None:
    """One of many ways to fail."""
    deeds = {
        "segfault": lambda: ctypes.string_at(0),
        "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "exit": _exit,
        "hang": lambda: time.sleep(1e6),
        "spin": _spin,
        "grow": _grow,
        "raise": _raise,
        "child": lambda: os.system("sleep 1000 & kill -9 $PPID"),
    }
    deeds.get(what, lambda: None)()


def _prepared(deed: Deed | None) -> Prepared | MeasurementError:
    if deed is None:
        return Prepared(lambda: None, 0)
    if deed.prepare == "unsupported":
        return MeasurementError("unsupported_operator", "no kernel for it")
    try:
        do(deed.prepare)
    except MemoryError as error:
        return MeasurementError("out_of_memory", repr(error))
    runs = iter(range(10**9))
    return Prepared(lambda: do(deed.run if next(runs) > 3 else "nothing"), 7 + deed.number)


def _deed(workload: Workload) -> Deed | None:
    layers = workload.architecture.layers
    return layers[0] if layers and isinstance(layers[0], Deed) else None


def _exit() -> NoReturn:
    sys.stderr.write("first words\nlast words\n")
    sys.stderr.flush()
    os._exit(3)


def _spin() -> NoReturn:
    while True:
        pass


def _grow() -> None:
    """Fills memory, a quarter of a gibibyte at a time, until there is none."""
    hoard = []
    while len(hoard) < 4096:
        hoard.append(b"\1" * 2**28)


def _raise() -> NoReturn:
    raise ArithmeticError("these words")
