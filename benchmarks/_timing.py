"""Reads the clock for the benchmarks: how long something takes, and how much longer than something else.

The clock is the processor's time of this process, which other load on the machine hardly changes, where wall time may
double. So what is compared must run in one thread.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Action = Callable[[], object]


@dataclass(frozen=True)
class Comparison:
    """Two actions measured in turns.

    Attributes:
        ratio: median over the rounds of first / second; without unit.
        low: lower quartile of the ratios.
        high: upper quartile of the ratios.
        fastest: the fastest run of the first over the fastest of the second; what disturbs only ever adds.
        first_ms: median milliseconds of the first action.
        second_ms: median milliseconds of the second action.
    """

    ratio: float
    low: float
    high: float
    fastest: float
    first_ms: float
    second_ms: float


def seconds(action: Action, repeats: int = 1) -> float:
    """Processor seconds of one run of the action, as the mean over so many."""
    start = time.process_time()
    for _ in range(repeats):
        action()
    return (time.process_time() - start) / repeats


def compare(first: Action, second: Action, rounds: int, least_seconds: float = 0.1) -> Comparison:
    """How much longer the first action takes than the second.

    Each round runs both, one right after the other and in an order that alternates, so that what disturbs the machine
    for longer than a round does not favour either.

    Args:
        first: an action.
        second: the action that it is compared with.
        rounds: how many pairs are timed.
        least_seconds: an action is repeated until it lasts so long, so that the clock's own cost does not matter.
    """
    repeats = max(1, round(least_seconds / max(_warm(first), _warm(second), 1e-9)))
    gc.collect()
    gc.disable()
    try:
        pairs = np.array([_pair(first, second, repeats, swapped=bool(number % 2)) for number in range(rounds)])
    finally:
        gc.enable()
    low, ratio, high = np.percentile(pairs[:, 0] / pairs[:, 1], [25, 50, 75])
    fastest = pairs[:, 0].min() / pairs[:, 1].min()
    first_ms, second_ms = np.median(pairs, axis=0) * 1e3
    return Comparison(*map(float, (ratio, low, high, fastest, first_ms, second_ms)))


def _warm(action: Action) -> float:
    """Seconds of a run once the first one has filled the caches."""
    seconds(action)
    return seconds(action)


def _pair(first: Action, second: Action, repeats: int, swapped: bool) -> tuple[float, float]:
    """Seconds of both actions, the second one run first if they are swapped."""
    if swapped:
        after = seconds(second, repeats)
        return seconds(first, repeats), after
    return seconds(first, repeats), seconds(second, repeats)
