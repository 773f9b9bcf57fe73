"""Blocks: every sample behind a latency, in a form that is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

_LAYOUT = np.dtype("<f4")
_COLUMNS = 4
_CALM_BLOCKS = 5

Row = tuple[float, float, float, float]
"""Visit number, wall and processor milliseconds of one run, slowdown of the processor."""


@dataclass(frozen=True)
class Blocks:
    """The blocks of one program in the order of time.

    Attributes:
        data: float32, little-endian, four for each block: the visit's number from 0; wall milliseconds of one run;
            processor milliseconds of one run, all threads together; how much slower than at its best the processor ran
            a fixed loop, before or after the block, whichever was worse.
        runs: runs back to back in one block.
    """

    data: bytes = field(repr=False)
    runs: int

    @classmethod
    def of(cls, rows: Sequence[Row], runs: int) -> Blocks:
        """The blocks from their rows."""
        return cls(np.array(rows, _LAYOUT).tobytes(), runs)

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def table(self) -> npt.NDArray[np.float32]:
        """[blocks, 4]: visit, wall_ms, cpu_ms, slowdown."""
        return np.frombuffer(self.data, _LAYOUT).reshape(-1, _COLUMNS)

    @property
    def visits(self) -> int:
        """How many separated visits there were."""
        return len(np.unique(self.table[:, 0]))

    def calm(self, busy_ratio: float | None, slow_ratio: float) -> npt.NDArray[np.bool_]:
        """[blocks]: whether the program had a whole processor at full speed; the length of a block has no say in it.

        Args:
            busy_ratio: a block whose wall time is over its processor time by this factor was interrupted; None where
                the processor waits for another device.
            slow_ratio: a block beside a loop that was slower than at its best by this factor shared its core.
        """
        _, wall, cpu, slowdown = self.table.T
        whole = np.ones(len(wall), dtype=np.bool_) if busy_ratio is None else wall <= busy_ratio * cpu
        return whole & (slowdown <= slow_ratio)


@dataclass(frozen=True)
class Timing:
    """Statistics over the calm blocks of one program, in milliseconds of wall time for one run.

    Attributes:
        median_ms: median.
        p10_ms: tenth percentile.
        p90_ms: ninetieth percentile.
        p99_ms: ninety-ninth percentile.
        noise: interquartile range over median.
        cpu_ms: median processor time of one run, all threads together.
        samples: blocks behind the statistics.
        disturbed: blocks during which other load took the processor or slowed it down. They are left out of the
            statistics as long as five blocks remain; else nothing is left out.
        blocks: all of them.
    """

    median_ms: float
    p10_ms: float
    p90_ms: float
    p99_ms: float
    noise: float
    cpu_ms: float
    samples: int
    disturbed: int
    blocks: Blocks

    @classmethod
    def of(cls, blocks: Blocks, calm: npt.NDArray[np.bool_]) -> Timing:
        """The statistics of the blocks that are `calm` [blocks]."""
        kept = calm if np.sum(calm) >= _CALM_BLOCKS else np.ones_like(calm)
        wall, cpu = blocks.table[kept, 1:3].T.astype(np.float64)
        p10, median, p90, p99 = map(float, np.percentile(wall, [10, 50, 90, 99]))
        disturbed = int(np.sum(~calm))
        return cls(median, p10, p90, p99, noise(wall), float(np.median(cpu)), len(wall), disturbed, blocks)


def noise(values: npt.NDArray[np.floating]) -> float:
    """Interquartile range over median; 0 when all are 0."""
    low, median, high = np.percentile(values, [25, 50, 75])
    return float((high - low) / median) if median else 0.0
