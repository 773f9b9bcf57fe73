"""Backends that run programs on this machine: they say how a network becomes one, and are timed alike."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import nn

from hardware.backends._role import Backend, Progress, Workload
from hardware.measurement import Measurement, MeasurementError
from hardware.timing import Run, TimingSettings
from hardware.windows import measured, measured_export
from searchspaces.fused import fused


@dataclass(frozen=True)
class Prepared:
    """A program that has run once.

    Attributes:
        run: runs the program on one batch.
        model_bytes: size of the deployed model.
        synchronize: returns when the device has done all that was asked of it; None where `run` returns that late.
    """

    run: Run
    model_bytes: int
    synchronize: Callable[[], None] | None = None


class LocalBackend(Backend):
    """A runtime on this machine."""

    @abstractmethod
    def prepared(self, jobs: Sequence[Workload]) -> Iterator[Prepared | MeasurementError]:
        """Each job's program, or why there is none, in the order of the jobs and made when it is asked for.

        What several jobs share may be made before the first one.
        """

    @abstractmethod
    def prepared_export(self, directory: Path) -> Prepared | MeasurementError:
        """The program of the exported files that a user gets."""

    def settings(self) -> AbstractContextManager[object]:
        """Holds the runtime's global settings (threads, inference mode) while programs are prepared and run."""
        return nullcontext()

    def measure(
        self, jobs: Sequence[Workload], settings: TimingSettings, progress: Progress | None = None
    ) -> list[Measurement]:
        """The timing of each network, in a process of its own.

        Raises:
            UnavailableError: the backend cannot measure here.
            TypeError: a job cannot be sent to that process.
        """
        self.check()
        return measured(self, jobs, settings, progress)

    def measure_export(self, directory: Path, settings: TimingSettings) -> Measurement:
        """The timing of the exported files, in a process of its own.

        Raises:
            UnavailableError: the backend cannot measure here.
        """
        self.check()
        return measured_export(self, directory, settings)


def float_module(job: Workload) -> nn.Sequential:
    """The job's network in float32 and its inference form, with its weights; the global random state stays as it is.

    What a quantization policy keeps beside the weights is not needed.

    Raises:
        RuntimeError: weights are missing, or have another shape.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = job.architecture.build(quantize=False).eval()
    missing = [] if job.state is None else module.load_state_dict(job.state, strict=False).missing_keys
    if missing:
        raise RuntimeError(f"the weights lack {', '.join(missing)}")
    return cast(nn.Sequential, fused(module))
