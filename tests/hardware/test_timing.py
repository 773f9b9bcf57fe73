"""Timing on a clock that the test turns."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from hardware.blocks import Timing
from hardware.timing import (
    Probe,
    Program,
    Run,
    TimingSettings,
    idle_watts,
    joules_per_run,
    measure_in_visits,
    now,
    time_program,
)


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

    def program(self, ns: int, noise: float = 0.0, seed: int = 0) -> Run:
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


def _disturbed_clock(every: int) -> tuple[FakeClock, Run]:
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
    assert clock.wall / 1e6 < 32 + 6 * 4 * (12 + 2 * 1.9)


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
        t.median_ms
        for t in measure_in_visits([Program(drifting)] * 8, settings, clock=clock)
        if not isinstance(t, Exception)
    ]
    assert clock.wall > 0.4e9, "the drift is at least 20 %"
    assert max(medians) / min(medians) < 1.10


def test_the_order_of_visits_is_the_seeds() -> None:
    def visits(seed: int) -> list[int]:
        clock, seen = FakeClock(), list[int]()

        def numbered(index: int) -> Run:
            inner = clock.program(2_000_000)

            def run() -> None:
                seen.append(index)
                inner()

            return run

        measure_in_visits([Program(numbered(i)) for i in range(5)], TimingSettings(seed=seed), clock=clock)
        return seen

    assert visits(1) == visits(1)
    assert visits(1) != visits(2)


def test_a_program_that_raises_leaves_the_others_their_timing() -> None:
    clock = FakeClock()

    def broken() -> None:
        raise ArithmeticError("no")

    first, second = measure_in_visits([Program(broken), Program(clock.program(50_000))], clock=clock)
    assert isinstance(first, ArithmeticError)
    assert not isinstance(second, Exception)
    assert second.median_ms == pytest.approx(0.05, rel=1e-3)


def test_progress_counts_every_visit_to_the_end() -> None:
    clock, seen = FakeClock(), list[tuple[int, int]]()
    programs = [Program(clock.program(10_000))] * 3
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


def test_every_block_is_kept_with_its_visit() -> None:
    clock = FakeClock()
    settings = TimingSettings(visits=3, visit_ms=4, rounds=1)
    timing = time_program(clock.program(30_000_000, noise=0.1), settings, clock)
    visit, wall, cpu, slowdown = timing.blocks.table.T
    assert list(visit) == [0] * 5 + [1] * 5 + [2] * 5, "five blocks in each of three visits, however slow the program"
    assert timing.blocks.runs == 1
    assert np.median(wall) == pytest.approx(timing.median_ms, rel=1e-6)
    assert np.percentile(wall, 99) == pytest.approx(timing.p99_ms, rel=1e-6)
    assert np.allclose(wall, cpu, rtol=1e-4)
    assert np.all(slowdown == 1)


def test_blocks_beside_a_slow_loop_are_set_aside_whatever_their_own_length() -> None:
    clock, runs = FakeClock(), iter(range(10**9))

    def shared() -> bool:
        return clock.wall % 40_000_000 < 26_000_000

    def run() -> None:
        spent = (150_000 if next(runs) % 10 == 0 else 100_000) * (2 if shared() else 1)
        clock.wall += spent
        clock.cpu += spent

    def loop() -> None:
        clock.wall += 20_000 if shared() else 10_000

    settings = TimingSettings(block_ms=0.1, visits=8)
    (timing,) = measure_in_visits([Program(run)], settings, clock=clock, probe=Probe(clock, loop))
    assert isinstance(timing, Timing)
    assert timing.median_ms == pytest.approx(0.1, rel=1e-2)
    assert timing.disturbed > 100
    assert timing.p99_ms == pytest.approx(0.15, rel=1e-2), "the program's own slow runs stay"


def test_a_probe_remembers_full_speed_from_earlier_measurements() -> None:
    clock, speed = FakeClock(), [1]

    def loop() -> None:
        clock.wall += 10_000 * speed[0]

    probe, program = Probe(clock, loop), Program(clock.program(50_000))
    first, second = [], []
    for found, speed[0] in ((first, 1), (second, 2)):
        found += measure_in_visits([program], clock=clock, probe=probe)
    assert first[0].disturbed == 0
    assert second[0].disturbed == second[0].samples == len(second[0].blocks)


def test_a_device_is_waited_for_at_the_end_of_each_block() -> None:
    clock, queue = FakeClock(), [0]

    def run() -> None:
        queue[0] += 1
        clock.wall += 1_000
        clock.cpu += 1_000

    def synchronize() -> None:
        clock.wall += 100_000 * queue[0]
        queue[0] = 0

    (timing,) = measure_in_visits([Program(run, synchronize)], clock=clock)
    assert isinstance(timing, Timing)
    assert timing.median_ms == pytest.approx(0.101, rel=1e-2)
    assert timing.disturbed == 0, "the processor waits for the device"


def test_each_visit_is_announced() -> None:
    clock, seen = FakeClock(), list[int]()
    programs = [Program(clock.program(10_000))] * 3
    measure_in_visits(programs, TimingSettings(visits=2), clock=clock, announce=seen.append)
    assert sorted(seen[:3]) == [0, 1, 2]
    assert sorted(seen) == [0] * 3 + [1] * 3 + [2] * 3


def test_energy_is_what_a_run_draws_beyond_the_idle_machine() -> None:
    clock = FakeClock()
    program, watts_busy, watts_idle = Program(clock.program(2_000_000)), 30.0, 10.0
    joules = joules_per_run(program, lambda: watts_busy * clock.wall / 1e9, watts_idle, 500.0, clock)
    assert joules == pytest.approx(20.0 * 0.002, rel=1e-3)
    assert clock.wall >= 0.5e9


def test_the_idle_power_is_that_of_the_meter() -> None:
    readings = iter([5.0, 7.0])
    assert 2.0 / 0.5 < idle_watts(lambda: next(readings), 10.0) <= 2.0 / 0.01


def test_dates_are_in_utc() -> None:
    assert now().endswith("+00:00")


def test_the_real_clock_measures() -> None:
    numbers = list(range(1000))
    timing = time_program(numbers.sort, TimingSettings(visits=2, visit_ms=2, warmup_ms=2))
    assert 0 < timing.median_ms < 10
