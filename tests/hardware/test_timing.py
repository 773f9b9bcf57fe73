"""Timing on a clock that the test turns."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from hardware.timing import Program, TimingSettings, measure_in_visits, time_program


class FakeClock:
    """Time passes only when a program says so, and a little at each reading."""

    def __init__(self, read_ns: int = 50) -> None:
        self.wall = self.cpu = 0
        self.read_ns = read_ns

    def wall_ns(self) -> int:
        self.wall += self.read_ns
        self.cpu += self.read_ns
        return self.wall

    def cpu_ns(self) -> int:
        return self.cpu

    def program(self, ns: int, noise: float = 0.0, seed: int = 0) -> Program:
        """A program of this length, uniformly noisy."""
        rng = np.random.default_rng(seed)

        def run() -> None:
            spent = round(ns * (1 + noise * rng.uniform(-1, 1)))
            self.wall += spent
            self.cpu += spent

        return run


def test_the_median_is_the_programs_length() -> None:
    clock = FakeClock()
    timing = time_program(clock.program(100_000), clock=clock)
    assert timing.median_ms == pytest.approx(0.1, rel=1e-3)
    assert timing.p10_ms <= timing.median_ms <= timing.p90_ms
    assert timing.noise < 1e-6
    assert timing.disturbed == 0


@pytest.mark.parametrize("length_ns", [1_000, 20_000, 300_000, 30_000_000])
def test_reading_the_clock_is_less_than_a_thousandth_of_a_block(length_ns: int) -> None:
    clock = FakeClock(read_ns=3_000)
    assert time_program(clock.program(length_ns), clock=clock).median_ms == pytest.approx(length_ns / 1e6, rel=1e-3)


@pytest.mark.parametrize("length_ns", [15_000, 300_000])
def test_a_tiny_program_takes_50_to_80_ms(length_ns: int) -> None:
    clock = FakeClock()
    time_program(clock.program(length_ns), clock=clock)
    assert 50 <= clock.wall / 1e6 <= 80


def test_percentiles_and_noise_are_those_of_the_blocks() -> None:
    clock = FakeClock()
    settings = TimingSettings(block_ms=1e-6, visits=20, visit_ms=200)
    timing = time_program(clock.program(1_000_000, noise=0.5), settings, clock)
    assert timing.p10_ms == pytest.approx(0.6, rel=0.02)
    assert timing.p90_ms == pytest.approx(1.4, rel=0.02)
    assert timing.noise == pytest.approx(0.5, rel=0.05)


def test_the_warm_up_waits_until_the_program_is_stable() -> None:
    clock = FakeClock()
    lengths = iter([4_000_000, 3_000_000, 2_000_000, 1_800_000, 1_400_000, 1_200_000])

    def run() -> None:
        spent = next(lengths, 1_000_000)
        clock.wall += spent
        clock.cpu += spent

    timing = time_program(run, TimingSettings(warmup_ms=1_000), clock)
    assert timing.median_ms == pytest.approx(1.0, rel=1e-3)
    assert timing.p90_ms == pytest.approx(1.0, rel=1e-3)


def test_the_warm_up_of_a_program_that_never_settles_is_bounded() -> None:
    clock = FakeClock()
    time_program(
        clock.program(1_000_000, noise=0.9), TimingSettings(warmup_ms=30, visits=1, visit_ms=1, rounds=1), clock
    )
    assert clock.wall / 1e6 < 45


def _disturbed_clock(every: int) -> tuple[FakeClock, Program]:
    """A program during which, each so many runs, the processor is away for a while."""
    clock, runs = FakeClock(), iter(range(10**9))

    def run() -> None:
        clock.wall += 1_000_000 if next(runs) % every else 3_000_000
        clock.cpu += 1_000_000

    return clock, run


def test_blocks_taken_by_other_load_are_counted_and_left_out() -> None:
    clock, run = _disturbed_clock(every=4)
    timing = time_program(run, TimingSettings(visit_ms=100), clock)
    assert timing.disturbed == pytest.approx(timing.samples / 3, abs=3)
    assert timing.p90_ms == pytest.approx(1.0, rel=1e-3)
    assert timing.cpu_ms == pytest.approx(1.0, rel=1e-3)


def test_a_program_is_visited_again_when_load_disturbed_it() -> None:
    clock = FakeClock()

    def run() -> None:
        slow = 30e6 < clock.wall < 60e6
        clock.wall += 300_000 if slow else 100_000
        clock.cpu += 300_000 if slow else 100_000

    once = time_program(run, TimingSettings(rounds=1), clock)
    clock.wall = 0
    again = time_program(run, clock=clock)
    assert once.noise > 0.1
    assert again.noise < 0.01
    assert again.median_ms == pytest.approx(0.1, rel=1e-3)


def test_a_program_that_stays_noisy_is_visited_a_bounded_number_of_times() -> None:
    clock = FakeClock()
    time_program(clock.program(1_000_000, noise=0.9), TimingSettings(warmup_ms=30), clock)
    assert clock.wall / 1e6 < 32 + 3 * 4 * (12 + 2 * 1.9)


def test_nothing_is_left_out_when_all_blocks_are_taken() -> None:
    clock, run = _disturbed_clock(every=1)
    timing = time_program(run, clock=clock)
    assert timing.disturbed == timing.samples
    assert timing.median_ms == pytest.approx(3.0, rel=1e-3)


def test_a_program_that_is_too_slow_is_a_timeout_after_one_run() -> None:
    clock = FakeClock()
    with pytest.raises(TimeoutError, match="one run took 30 ms"):
        time_program(clock.program(30_000_000), TimingSettings(timeout_ms=20), clock)
    assert clock.wall / 1e6 < 31


def test_drift_spreads_over_all_programs() -> None:
    clock = FakeClock()

    def drifting() -> None:
        spent = round(100_000 * (1 + clock.wall / 2e9))
        clock.wall += spent
        clock.cpu += spent

    settings = TimingSettings(visits=12, visit_ms=5, rounds=1)
    medians = [
        t.median_ms for t in measure_in_visits([drifting] * 8, settings, clock=clock) if not isinstance(t, Exception)
    ]
    assert clock.wall > 0.4e9, "the drift is at least 20 %"
    assert max(medians) / min(medians) < 1.10


def test_the_order_of_visits_is_the_seeds() -> None:
    def visits(seed: int) -> list[int]:
        clock, seen = FakeClock(), list[int]()

        def numbered(index: int) -> Program:
            inner = clock.program(2_000_000)

            def run() -> None:
                seen.append(index)
                inner()

            return run

        measure_in_visits([numbered(i) for i in range(5)], TimingSettings(seed=seed), clock=clock)
        return seen

    assert visits(1) == visits(1)
    assert visits(1) != visits(2)


def test_a_program_that_raises_leaves_the_others_their_timing() -> None:
    clock = FakeClock()

    def broken() -> None:
        raise ArithmeticError("no")

    first, second = measure_in_visits([broken, clock.program(50_000)], clock=clock)
    assert isinstance(first, ArithmeticError)
    assert not isinstance(second, Exception)
    assert second.median_ms == pytest.approx(0.05, rel=1e-3)


def test_progress_counts_every_visit_to_the_end() -> None:
    clock, seen = FakeClock(), list[tuple[int, int]]()
    programs = [clock.program(10_000)] * 3
    measure_in_visits(programs, TimingSettings(visits=2), progress=lambda *at: seen.append(at), clock=clock)
    assert seen == [(done, 9) for done in range(1, 10)]


def test_the_garbage_collector_rests_meanwhile_and_comes_back() -> None:
    clock, states = FakeClock(), set[bool]()

    def run() -> None:
        states.add(gc.isenabled())
        clock.wall += 1_000_000
        clock.cpu += 1_000_000

    time_program(run, clock=clock)
    assert states == {False}
    assert gc.isenabled()


def test_the_real_clock_measures() -> None:
    numbers = list(range(1000))
    timing = time_program(numbers.sort, TimingSettings(visits=2, visit_ms=2, warmup_ms=2))
    assert 0 < timing.median_ms < 10
