"""From programs that are ready to run to measurements: shared by the backends that time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from hardware.backends._role import Workload
from hardware.measurement import Measurement, MeasurementError
from hardware.timing import Program, Progress, Timing, TimingSettings, measure_in_visits


@dataclass(frozen=True)
class Prepared:
    """A program that has run once, and the bytes of its model."""

    run: Program
    model_bytes: int


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
