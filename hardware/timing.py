"""Timing: the only file here that reads a clock.

A sample is a *block*: so many runs back to back that reading the clock is at most half a thousandth of it. A program is
warmed up until its blocks are stable, then visited several times; several programs are visited in random order, so
that slow drift of the machine spreads over all of them evenly instead of favouring the first.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

Program = Callable[[], None]
Progress = Callable[[int, int], None]

_TIMER_SHARE = 5e-4
_STABLE_BLOCKS = 10
_LEAST_BLOCKS = 3
_CALM_BLOCKS = 5
_NS_PER_MS = 1e6


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
class TimingSettings:
    """How much time a measurement may take. The defaults spend 50 to 80 ms on a program of up to 300 microseconds.

    Attributes:
        block_ms: least length of a block.
        warmup_ms: longest warm-up; it ends earlier once stable.
        stability: the warm-up is over when IQR / median of the last ten blocks is below this.
        visits: how many separated times a program is visited.
        visit_ms: length of a visit, at least three blocks.
        rounds: how often the visits are made at most: those that stay too noisy are made again.
        noise: the noise above which a program is visited again.
        timeout_ms: a program whose first run takes longer is not measured.
        busy_ratio: a block is disturbed when its wall time is over its processor time by this factor.
        seed: of the order of the visits, where the caller brings no generator.
    """

    block_ms: float = 0.5
    warmup_ms: float = 20.0
    stability: float = 0.05
    visits: int = 4
    visit_ms: float = 12.0
    rounds: int = 3
    noise: float = 0.1
    timeout_ms: float = 20_000.0
    busy_ratio: float = 1.2
    seed: int = 0


FINAL = TimingSettings(block_ms=1.0, warmup_ms=300.0, visits=10, visit_ms=100.0)
"""About a second and more for each program: for the figures that a user sees."""


@dataclass(frozen=True)
class Timing:
    """Statistics over blocks, in milliseconds of wall time for one run.

    Attributes:
        median_ms: median.
        p10_ms: tenth percentile.
        p90_ms: ninetieth percentile.
        noise: interquartile range over median.
        cpu_ms: median processor time of one run, all threads together.
        samples: blocks behind the statistics.
        disturbed: blocks during which other load took the processor. They are left out of the statistics as long
            as five blocks remain; else nothing is left out.
    """

    median_ms: float
    p10_ms: float
    p90_ms: float
    noise: float
    cpu_ms: float
    samples: int
    disturbed: int


def time_program(run: Program, settings: TimingSettings | None = None, clock: Clock | None = None) -> Timing:
    """The timing of one program.

    Raises:
        TimeoutError: one run takes longer than `settings.timeout_ms`.
    """
    result = measure_in_visits([run], settings, clock=clock)[0]
    if isinstance(result, Exception):
        raise result
    return result


def measure_in_visits(
    programs: Sequence[Program],
    settings: TimingSettings | None = None,
    rng: np.random.Generator | None = None,
    progress: Progress | None = None,
    clock: Clock | None = None,
) -> list[Timing | Exception]:
    """The timing of each program, or what it raised, in the order of the programs.

    `progress(done, total)` counts the visits of the first round, warm-ups among them.
    """
    settings, clock = settings or TimingSettings(), clock or SystemClock()
    rng = np.random.default_rng(settings.seed) if rng is None else rng
    stopwatches = [_Stopwatch(program, settings, clock) for program in programs]
    first = [*rng.permutation(len(programs)), *_plan(range(len(programs)), settings, rng)]
    with _no_garbage_collection():
        for done, index in enumerate(first, 1):
            stopwatches[index].visit()
            if progress:
                progress(done, len(first))
        for _ in range(settings.rounds - 1):
            for index in _plan([i for i, stopwatch in enumerate(stopwatches) if stopwatch.unsettled], settings, rng):
                stopwatches[index].visit()
    return [stopwatch.result() for stopwatch in stopwatches]


def _plan(indices: Sequence[int], settings: TimingSettings, rng: np.random.Generator) -> list[int]:
    """A round: each program so many times, in random order."""
    return list(rng.permutation(np.repeat(np.array(indices, dtype=np.int64), settings.visits)))


class _Stopwatch:
    """The samples of one program. The first visit warms up, each later one measures."""

    def __init__(self, run: Program, settings: TimingSettings, clock: Clock) -> None:
        self._run, self._settings, self._clock = run, settings, clock
        self._repeats = 0
        self._samples: list[tuple[float, float]] = []
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
        return isinstance(timing, Timing) and (
            timing.noise > self._settings.noise or 2 * timing.disturbed > len(self._samples)
        )

    def result(self) -> Timing | Exception:
        """The statistics, or the error."""
        return self._error or _statistics(np.array(self._samples), self._settings)

    def _measure(self) -> None:
        """Blocks for one visit; the first refills caches that other programs emptied, and does not count."""
        self._block()
        spent, blocks = 0.0, 0
        while spent < self._settings.visit_ms or blocks < _LEAST_BLOCKS:
            self._samples.append(self._block())
            spent += self._samples[-1][0] * self._repeats
            blocks += 1

    def _warm_up(self) -> None:
        """Finds the number of runs in a block, then runs blocks until they are stable or time is up."""
        self._repeats = 1
        spent = self._find_repeats()
        recent: list[float] = []
        while spent < self._settings.warmup_ms:
            recent = [*recent, self._block()[0]][-_STABLE_BLOCKS:]
            spent += recent[-1] * self._repeats
            if len(recent) == _STABLE_BLOCKS and _noise(np.array(recent)) < self._settings.stability:
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
        run, repeats, clock = self._run, self._repeats, self._clock
        cpu = clock.cpu_ns()
        wall = clock.wall_ns()
        for _ in range(repeats):
            run()
        wall = clock.wall_ns() - wall
        cpu = clock.cpu_ns() - cpu
        return wall / repeats / _NS_PER_MS, cpu / repeats / _NS_PER_MS


def _timer_cost_ms(clock: Clock, reads: int = 20) -> float:
    """Milliseconds of one reading of the wall clock."""
    start = clock.wall_ns()
    for _ in range(reads):
        end = clock.wall_ns()
    return (end - start) / reads / _NS_PER_MS


def _statistics(samples: np.ndarray, settings: TimingSettings) -> Timing:
    """Statistics of [blocks, (wall, processor)] milliseconds."""
    wall, cpu = samples.T
    busy = wall > settings.busy_ratio * cpu
    kept = ~busy if np.sum(~busy) >= _CALM_BLOCKS else np.ones_like(busy)
    p10, median, p90 = np.percentile(wall[kept], [10, 50, 90])
    return Timing(
        median_ms=float(median),
        p10_ms=float(p10),
        p90_ms=float(p90),
        noise=_noise(wall[kept]),
        cpu_ms=float(np.median(cpu[kept])),
        samples=int(kept.sum()),
        disturbed=int(busy.sum()),
    )


def _noise(values: np.ndarray) -> float:
    """Interquartile range over median; 0 when all are 0."""
    low, median, high = np.percentile(values, [25, 50, 75])
    return float((high - low) / median) if median else 0.0


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
