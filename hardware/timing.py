"""Timing: the only file here that reads a clock.

A sample is a *block*: so many runs back to back that reading the clock is at most half a thousandth of it. A program is
warmed up until its blocks are stable, then visited several times; several programs are visited in random order, so
that slow drift of the machine spreads over all of them evenly instead of favouring the first.

Between blocks a fixed loop is timed. Two hardware threads of one core slow each other down to half their speed while
wall and processor time stay equal; the loop tells, and it tells without regard to the block's own length, so that
setting aside the blocks beside a slow loop does not choose among a program's own fast and slow runs.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import numpy as np

from hardware.blocks import Blocks, Row, Timing, noise
from hardware.timing_settings import FINAL as FINAL
from hardware.timing_settings import LEAST_BLOCKS
from hardware.timing_settings import TimingSettings as TimingSettings

Run = Callable[[], None]
Progress = Callable[[int, int], None]

_TIMER_SHARE = 5e-4
_STABLE_BLOCKS = 10
_LEAST_CALM = 20
_ASYNCHRONOUS_RUNS = 10
_NS_PER_MS = 1e6
_NS_PER_S = 1e9


class Clock(Protocol):
    """Two clocks, in nanoseconds."""

    def wall_ns(self) -> int:
        """Time that passes for everybody."""

    def cpu_ns(self) -> int:
        """Processor time of all threads of this process."""


class SystemClock:
    """The clocks of this process."""

    def wall_ns(self) -> int:
        """Monotonic wall time."""
        return time.perf_counter_ns()

    def cpu_ns(self) -> int:
        """User and system time of the process."""
        return time.process_time_ns()


@dataclass(frozen=True)
class Program:
    """What is timed.

    Attributes:
        run: one run.
        synchronize: returns when the device has done all that was asked of it; None where `run` returns that late.
    """

    run: Run
    synchronize: Run | None = None


class Probe:
    """The fixed loop between blocks, and the shortest time that it ever took."""

    def __init__(self, clock: Clock | None = None, work: Run | None = None) -> None:
        self._clock, self._work = clock or SystemClock(), work or _loop
        self.fastest_ns = math.inf

    def time_ns(self) -> float:
        """The loop's time, once its code is in the cache."""
        self._work()
        start = self._clock.wall_ns()
        self._work()
        taken = max(self._clock.wall_ns() - start, 1)
        self.fastest_ns = min(self.fastest_ns, taken)
        return taken


def time_program(run: Run, settings: TimingSettings | None = None, clock: Clock | None = None) -> Timing:
    """The timing of one program.

    Raises:
        TimeoutError: one run takes longer than `settings.timeout_ms`.
    """
    result = measure_in_visits([Program(run)], settings, clock=clock)[0]
    if isinstance(result, Exception):
        raise result
    return result


def measure_in_visits(
    programs: Sequence[Program],
    settings: TimingSettings | None = None,
    rng: np.random.Generator | None = None,
    progress: Progress | None = None,
    clock: Clock | None = None,
    announce: Callable[[int], None] | None = None,
    probe: Probe | None = None,
) -> list[Timing | Exception]:
    """The timing of each program, or what it raised, in the order of the programs.

    Args:
        programs: what is timed.
        settings: how.
        rng: draws the order of the visits.
        progress: called with (done, total) of the visits of the first round, warm-ups among them.
        clock: the clocks.
        announce: called with a program's index before each of its visits.
        probe: knows the processor's full speed from earlier calls.
    """
    settings, clock = settings or TimingSettings(), clock or SystemClock()
    rng = np.random.default_rng(settings.seed) if rng is None else rng
    probe = probe or Probe(clock)
    stopwatches = [_Stopwatch(program, settings, clock, probe) for program in programs]
    first = [*rng.permutation(len(programs)), *_plan(range(len(programs)), settings, rng)]
    with _no_garbage_collection():
        for done, index in enumerate(first, 1):
            _visit(stopwatches, index, announce)
            if progress:
                progress(done, len(first))
        for _ in range(settings.rounds - 1):
            for index in _plan([i for i, stopwatch in enumerate(stopwatches) if stopwatch.unsettled], settings, rng):
                _visit(stopwatches, index, announce)
    return [stopwatch.result() for stopwatch in stopwatches]


def joules_per_run(
    program: Program, joules: Callable[[], float], idle_watts: float, least_ms: float, clock: Clock | None = None
) -> float:
    """What a run draws beyond what the idle machine draws in that time, over at least so many milliseconds of runs."""
    clock, runs = clock or SystemClock(), 0
    before, start = joules(), clock.wall_ns()
    while clock.wall_ns() - start < least_ms * _NS_PER_MS:
        for _ in range(_ASYNCHRONOUS_RUNS if program.synchronize else 1):
            program.run()
            runs += 1
        if program.synchronize:
            program.synchronize()
    seconds = (clock.wall_ns() - start) / _NS_PER_S
    return (joules() - before - idle_watts * seconds) / runs


def idle_watts(joules: Callable[[], float], least_ms: float) -> float:
    """What the machine draws while this process sleeps."""
    before, start = joules(), time.perf_counter_ns()
    time.sleep(least_ms / 1e3)
    return (joules() - before) / ((time.perf_counter_ns() - start) / _NS_PER_S)


def now() -> str:
    """The date and time in UTC, in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class _Stopwatch:
    """The samples of one program. The first visit warms up, each later one measures."""

    def __init__(self, program: Program, settings: TimingSettings, clock: Clock, probe: Probe) -> None:
        self._program, self._settings, self._clock, self._probe = program, settings, clock, probe
        self._repeats = self._visits = 0
        self._samples: list[tuple[int, float, float, float]] = []
        self._error: Exception | None = None

    def visit(self) -> None:
        """Warms up, or measures for `visit_ms`; a program that failed is left alone."""
        if self._error is not None:
            return
        try:
            if self._repeats:
                self._measure()
            else:
                self._warm_up()
        except Exception as error:
            self._error = error

    @property
    def unsettled(self) -> bool:
        """Whether the samples are too noisy, or mostly disturbed."""
        timing = self.result()
        if isinstance(timing, Exception):
            return False
        return timing.noise > self._settings.noise or len(self._samples) - timing.disturbed < _LEAST_CALM

    def result(self) -> Timing | Exception:
        """The statistics, or the error."""
        if self._error is not None:
            return self._error
        fastest, settings = self._probe.fastest_ns, self._settings
        rows: list[Row] = [(visit, wall, cpu, probe / fastest) for visit, wall, cpu, probe in self._samples]
        blocks, waits = Blocks.of(rows, self._repeats), self._program.synchronize is not None
        return Timing.of(blocks, blocks.calm(None if waits else settings.busy_ratio, settings.slow_ratio))

    def _measure(self) -> None:
        """Blocks for one visit; the first refills caches that other programs emptied, and does not count."""
        self._block()
        spent, blocks, before = 0.0, 0, self._probe.time_ns()
        while spent < self._settings.visit_ms or blocks < LEAST_BLOCKS:
            wall, cpu = self._block()
            after = self._probe.time_ns()
            self._samples.append((self._visits, wall, cpu, max(before, after)))
            before, spent, blocks = after, spent + wall * self._repeats, blocks + 1
        self._visits += 1

    def _warm_up(self) -> None:
        """Finds the number of runs in a block, then runs blocks until they are stable or time is up."""
        self._repeats = 1
        spent = self._find_repeats()
        recent: list[float] = []
        while spent < self._settings.warmup_ms:
            recent = [*recent, self._block()[0]][-_STABLE_BLOCKS:]
            spent += recent[-1] * self._repeats
            if len(recent) == _STABLE_BLOCKS and noise(np.array(recent)) < self._settings.stability:
                break

    def _find_repeats(self) -> float:
        """Sets the runs in a block; returns the milliseconds spent to find out. The first run may still compile."""
        first_ms = self._block()[0]
        if first_ms > self._settings.timeout_ms:
            raise TimeoutError(f"one run took {first_ms:.0f} ms, more than {self._settings.timeout_ms:.0f} ms")
        wanted_ms = max(self._settings.block_ms, _timer_cost_ms(self._clock) / _TIMER_SHARE)
        spent, block_ms = first_ms, self._block()[0]
        while block_ms < wanted_ms:
            spent += block_ms
            self._repeats = math.ceil(self._repeats * max(1.1, wanted_ms / max(block_ms, 1e-6)))
            block_ms = self._block()[0] * self._repeats
        return spent + block_ms

    def _block(self) -> tuple[float, float]:
        """Wall and processor milliseconds of one run, as the mean over one block."""
        run, synchronize, repeats, clock = self._program.run, self._program.synchronize, self._repeats, self._clock
        cpu = clock.cpu_ns()
        wall = clock.wall_ns()
        for _ in range(repeats):
            run()
        if synchronize:
            synchronize()
        wall = clock.wall_ns() - wall
        cpu = clock.cpu_ns() - cpu
        return wall / repeats / _NS_PER_MS, cpu / repeats / _NS_PER_MS


def _timer_cost_ms(clock: Clock, reads: int = 20) -> float:
    """Milliseconds of one reading of the wall clock."""
    start = clock.wall_ns()
    for _ in range(reads):
        end = clock.wall_ns()
    return (end - start) / reads / _NS_PER_MS


def _visit(stopwatches: Sequence[_Stopwatch], index: int, announce: Callable[[int], None] | None) -> None:
    """A visit, announced."""
    if announce:
        announce(int(index))
    stopwatches[index].visit()


def _plan(indices: Sequence[int], settings: TimingSettings, rng: np.random.Generator) -> list[int]:
    """A round: each program so many times, in random order."""
    return list(rng.permutation(np.repeat(np.array(indices, dtype=np.int64), settings.visits)))


def _loop() -> None:
    """About five microseconds of one core's own work, without memory."""
    for _ in range(500):
        pass


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Keeps the collector from running inside a block."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
