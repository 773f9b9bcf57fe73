"""Session: prepares and times the programs of a backend, in whichever process it lives in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hardware.blocks import Timing
from hardware.conditions import Conditions, Watch
from hardware.energy import Meter, gpu_meter, processor_meter
from hardware.measurement import Measurement, MeasurementError
from hardware.memory import peak_of
from hardware.nvml import first_gpu
from hardware.timing import Probe, Program, TimingSettings, idle_watts, joules_per_run, measure_in_visits, now

if TYPE_CHECKING:
    from hardware.backends._local import LocalBackend, Prepared
    from hardware.backends._role import Workload

SHARED = -1
"""Instead of a job's number: work that several jobs share."""
REFERENCE = -2
"""Instead of a job's number: a reference network."""
_MOST_JOBS = 200


@dataclass(frozen=True)
class Request:
    """What a session is asked for: to measure networks, or exported files.

    Attributes:
        backend: the runtime.
        jobs: networks, or the directory of the exported files.
        settings: of the timing.
        order: seeds the order of the visits.
        references: networks that are measured among the jobs.
    """

    backend: LocalBackend
    jobs: tuple[Workload, ...] | Path
    settings: TimingSettings
    order: tuple[int, ...] = (0,)
    references: tuple[Workload, ...] = ()


@dataclass(frozen=True)
class Reply:
    """What a session answers.

    Attributes:
        measurements: of the jobs, in their order.
        references_ms: latency of each reference; None for one that failed.
        started: date and time in UTC.
        energy: the meter, or why there was none.
        conditions: of the machine.
    """

    measurements: list[Measurement]
    references_ms: tuple[float | None, ...]
    started: str
    energy: str
    conditions: Conditions


@dataclass(frozen=True)
class Step:
    """What a session is about to do, so that whoever watches it knows what it died of.

    Attributes:
        kind: `prepare` a program, or `visit` it.
        job: the job's number, `SHARED` or `REFERENCE`.
        done: visits of the first round until now.
        total: visits of the first round.
    """

    kind: str
    job: int
    done: int = 0
    total: int = 0


Say = Callable[[Step], None]
Made = tuple["Prepared | MeasurementError", int | None]
"""A program or a failure, and the peak memory of its preparation."""


class Session:
    """Holds one backend's settings and reference programs from request to request."""

    def __init__(self) -> None:
        self._probe = Probe()
        self._stack = ExitStack()
        self._backend: LocalBackend | None = None
        self._references: dict[Workload, Prepared | MeasurementError] = {}
        self._served = 0

    def serve(self, request: Request, say: Say) -> Reply:
        """Measures; `say` hears of each step before it is taken."""
        self._open(request.backend)
        references = self._reference_programs(request, say)
        made = list(_made(request, say))
        programs = [*references, *(program for program, _ in made)]
        watch, started = Watch(first_gpu()), now()
        with watch.watching():
            timings = _times(programs, len(references), request, say, self._probe)
        energies = _Energies(request.settings, [program for program, _ in made])
        found = []
        for job, ((program, memory), timing) in enumerate(zip(made, timings[len(references) :], strict=True)):
            say(Step("visit", job))
            found.append(_measurement(program, timing, memory, energies))
        medians = tuple(timing.median_ms if isinstance(timing, Timing) else None for timing in timings)
        return Reply(found, medians[: len(references)], started, energies.meter_name, watch.conditions)

    def close(self) -> None:
        """Gives programs back and restores the runtime's settings."""
        self._references = {}
        self._backend = None
        self._stack.close()

    def _open(self, backend: LocalBackend) -> None:
        """Enters the backend's settings if need be; now and then anew, so that what runtimes keep is given back."""
        if backend == self._backend and self._served < _MOST_JOBS:
            return
        self.close()
        self._served = 0
        self._stack.enter_context(backend.settings())
        self._backend = backend

    def _reference_programs(self, request: Request, say: Say) -> list[Prepared | MeasurementError]:
        """The programs of the reference networks, made once: another copy may lie in memory less favourably."""
        if not isinstance(request.jobs, Path):
            self._served += len(request.jobs)
        missing = [workload for workload in request.references if workload not in self._references]
        if missing:
            say(Step("prepare", REFERENCE))
            self._references.update(zip(missing, request.backend.prepared(missing), strict=True))
        return [self._references[workload] for workload in request.references]


class _Energies:
    """The machine's meter, and what the idle machine draws."""

    def __init__(self, settings: TimingSettings, programs: Sequence[Prepared | MeasurementError]) -> None:
        ready = [program for program in programs if not isinstance(program, MeasurementError)]
        on_gpu = any(program.synchronize for program in ready)
        self._least_ms = settings.energy_ms
        self._meter: Meter | str = "not asked for"
        if settings.energy_ms > 0:
            self._meter = gpu_meter() if on_gpu else processor_meter()
        self._idle = 0.0
        if ready and not isinstance(self._meter, str):
            self._idle = idle_watts(self._meter.joules, self._least_ms)

    @property
    def meter_name(self) -> str:
        """The meter, or why there is none."""
        return self._meter if isinstance(self._meter, str) else self._meter.name

    def millijoules(self, program: Program) -> float | None:
        """Of one run, over the idle machine; None without a meter, or where it cannot be told from idling."""
        if isinstance(self._meter, str):
            return None
        joules = joules_per_run(program, self._meter.joules, self._idle, self._least_ms)
        return joules * 1e3 if joules > 0 else None


def _made(request: Request, say: Say) -> Iterator[Made]:
    """The program of each job with its memory; first of all an empty network, with what all jobs share."""
    if isinstance(request.jobs, Path):
        directory = request.jobs
        say(Step("prepare", 0))
        yield _with_peak(lambda: request.backend.prepared_export(directory))
        return
    if not request.jobs:
        return
    say(Step("prepare", SHARED))
    programs = request.backend.prepared([_empty(request.jobs[0]), *request.jobs])
    next(programs)
    for job in range(len(request.jobs)):
        say(Step("prepare", job))
        yield _with_peak(lambda: next(programs))


def _empty(job: Workload) -> Workload:
    """The empty network on a job's input."""
    from hardware.backends._role import Workload
    from searchspaces.architecture import Architecture

    return Workload(Architecture(job.architecture.input_shape, ()))


def _with_peak(prepare: Callable[[], Prepared | MeasurementError]) -> Made:
    """A program and the peak memory of its preparation, on the GPU where it runs there."""
    program, host, device = peak_of(prepare)
    on_gpu = not isinstance(program, MeasurementError) and program.synchronize is not None
    return program, device if on_gpu else host


def _times(
    programs: Sequence[Prepared | MeasurementError], references: int, request: Request, say: Say, probe: Probe
) -> list[Timing | MeasurementError | Exception]:
    """The timing of each program, references first, or the failure in its place."""
    found: list[Timing | MeasurementError | Exception] = [
        program if isinstance(program, MeasurementError) else TimeoutError() for program in programs
    ]
    ready = [index for index, program in enumerate(programs) if not isinstance(program, MeasurementError)]
    at = [0, 0]

    def announce(index: int) -> None:
        job = ready[index] - references
        say(Step("visit", job if job >= 0 else REFERENCE, *at))

    def progress(done: int, total: int) -> None:
        at[:] = done, total

    timed = [_program(program) for program in programs if not isinstance(program, MeasurementError)]
    rng = np.random.default_rng(request.order)
    for index, timing in zip(
        ready,
        measure_in_visits(timed, request.settings, rng, progress, announce=announce, probe=probe),
        strict=True,
    ):
        found[index] = timing
    return found


def _program(prepared: Prepared) -> Program:
    """What is timed of a prepared program."""
    return Program(prepared.run, prepared.synchronize)


def _measurement(
    program: Prepared | MeasurementError,
    timing: Timing | MeasurementError | Exception,
    memory: int | None,
    energies: _Energies,
) -> Measurement:
    """The measurement of a program that was timed, or that failed on the way."""
    if isinstance(timing, Timing) and not isinstance(program, MeasurementError):
        energy = energies.millijoules(_program(program))
        size = program.model_bytes
        return Measurement.of(timing, model_bytes=size, peak_memory_bytes=memory, energy_mj=energy)
    return Measurement.failed(_failure(timing))


def _failure(error: Timing | Exception) -> MeasurementError:
    """The state of a program that raised while it ran, though it had run before."""
    if isinstance(error, MeasurementError):
        return error
    if isinstance(error, TimeoutError):
        return MeasurementError("timeout", str(error))
    if isinstance(error, MemoryError):
        return MeasurementError("out_of_memory", str(error))
    return MeasurementError("crashed", f"{type(error).__name__}: {error}")
