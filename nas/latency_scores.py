"""Scores: how well believed latencies meet measured ones, and how well they could."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from hardware.measurement import Measurement
from predictors._role import Model
from predictors.encodings._role import Floats, Genes

_WALL = 1
_VISIT = 0


@dataclass(frozen=True)
class Scores:
    """Predictions of networks that were not learned from, against their measurements.

    Attributes:
        networks: how many.
        spearman: rank correlation.
        ceiling: what a perfect predictor could expect of it: the square root of the rank correlation between two
            halves of each measurement, raised to full length by the formula of Spearman and Brown.
        within_5: share that is predicted within 5 %.
        within_10: share that is predicted within 10 %.
        within_15: share that is predicted within 15 %.
        median_error: median relative error, without sign.
        bias: median relative error, with its sign.
        covered: share of the measurements within their intervals.
        noise: median relative difference between the two halves of a measurement.
    """

    networks: int
    spearman: float
    ceiling: float
    within_5: float
    within_10: float
    within_15: float
    median_error: float
    bias: float
    covered: float
    noise: float


def scored(model: Model, matrix: Genes, measurements: Sequence[Measurement]) -> Scores:
    """The scores of a model on measured rows [n, decisions], none of which failed."""
    measured = np.array([measurement.milliseconds for measurement in measurements])
    believed, (low, high) = model.predict(matrix).mean, model.interval(matrix)
    errors = believed / measured - 1
    first, second = np.array([halves(measurement) for measurement in measurements]).T
    within = {f"within_{percent}": float(np.mean(np.abs(errors) <= percent / 100)) for percent in (5, 10, 15)}
    return Scores(
        networks=len(measured),
        spearman=correlation(believed, measured),
        ceiling=ceiling(first, second),
        **within,
        median_error=float(np.median(np.abs(errors))),
        bias=float(np.median(errors)),
        covered=float(np.mean((low <= measured) & (measured <= high))),
        noise=float(np.median(np.abs(first / second - 1))),
    )


def correlation(first: Floats, second: Floats) -> float:
    """Spearman's rank correlation; 1 where one of both has no ranks to get wrong."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 1.0
    return float(spearmanr(first, second).statistic)


def ceiling(first: Floats, second: Floats) -> float:
    """The expected rank correlation of the truth with the mean of two equally noisy measurements of it."""
    half = max(correlation(first, second), 0.0)
    return float(np.sqrt(2 * half / (1 + half)))


def halves(measurement: Measurement) -> tuple[float, float]:
    """Median milliseconds of the even and of the odd visits; twice the latency where no blocks are kept."""
    blocks = measurement.blocks
    if blocks is None or blocks.visits < 2:
        return measurement.milliseconds, measurement.milliseconds
    wall, odd = blocks.table[:, _WALL], blocks.table[:, _VISIT] % 2 == 1
    return float(np.median(wall[~odd])), float(np.median(wall[odd]))
