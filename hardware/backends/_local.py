"""Backends that run programs on this machine: they say how a network becomes one, and are timed alike."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from hardware.backends._role import Backend, Progress, Workload
from hardware.measurement import Measurement, MeasurementError
from hardware.timing import Program, Timing, TimingSettings, measure_in_visits


@dataclass(frozen=True)
class Prepared:
    """A program that has run once.

    Attributes:
        run: runs the program on one batch.
        model_bytes: size of the deployed model.
        synchronize: returns when the device has done all that was asked of it; None where `run` returns that late.
    """

    run: Program
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
        """The timing of each network."""
        with self.settings():
            return measured(list(self.prepared(jobs)), settings, progress)

    def measure_export(self, directory: Path, settings: TimingSettings) -> Measurement:
        """The timing of the exported files."""
        with self.settings():
            return measured([self.prepared_export(directory)], settings)[0]


def measured(
    programs: Sequence[Prepared | MeasurementError], settings: TimingSettings, progress: Progress | None = None
) -> list[Measurement]:
    """The measurement of each program, or of the failure in its place."""
    ready = [program for program in programs if isinstance(program, Prepared)]
    timings = iter(measure_in_visits([program.run for program in ready], settings, progress=progress))
    return [
        Measurement.failed(program) if isinstance(program, MeasurementError) else _measurement(program, next(timings))
        for program in programs
    ]


def _measurement(program: Prepared, timing: Timing | Exception) -> Measurement:
    """The measurement of a program that was timed, or that failed on the way."""
    if isinstance(timing, Timing):
        return Measurement.of(timing, model_bytes=program.model_bytes)
    if isinstance(timing, TimeoutError):
        return Measurement.failed(MeasurementError("timeout", str(timing)))
    if isinstance(timing, MemoryError):
        return Measurement.failed(MeasurementError("out_of_memory", str(timing)))
    raise timing


def float_module(job: Workload) -> nn.Sequential:
    """The job's network in float32 and evaluation mode, with its weights; the global random state stays as it is.

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
    return module
