"""Settings of the timing: how much time a measurement may take, and what is good enough."""

from __future__ import annotations

from dataclasses import dataclass

LEAST_BLOCKS = 5
"""Blocks in a visit, however slow the program."""


@dataclass(frozen=True)
class TimingSettings:
    """How much time a measurement may take. The defaults spend 50 to 80 ms on a program of up to 300 microseconds.

    Attributes:
        block_ms: least length of a block.
        warmup_ms: longest warm-up; it ends earlier once stable.
        stability: the warm-up is over when IQR / median of the last ten blocks is below this.
        visits: how many separated times a program is visited.
        visit_ms: length of a visit, at least five blocks.
        rounds: how often the visits are made at most: those that stay too noisy are made again.
        noise: the noise above which a program is visited again.
        timeout_ms: a program whose first run takes longer is not measured.
        prepare_ms: a program that takes longer to prepare is not measured.
        busy_ratio: a block is disturbed when its wall time is over its processor time by this factor.
        slow_ratio: a block is disturbed when a fixed loop beside it is slower than at its best by this factor.
        window: programs that are measured together, between two measurements of the reference networks.
        drift: a window is measured again when a reference network moved by more than this share.
        repeats: how often a window is measured again at most.
        energy_ms: least time over which energy is metered, where the machine has a meter.
        seed: of the order of the visits, where the caller brings no generator.
    """

    block_ms: float = 0.5
    warmup_ms: float = 20.0
    stability: float = 0.05
    visits: int = 4
    visit_ms: float = 12.0
    rounds: int = 6
    noise: float = 0.05
    timeout_ms: float = 20_000.0
    prepare_ms: float = 300_000.0
    busy_ratio: float = 1.2
    slow_ratio: float = 1.1
    window: int = 20
    drift: float = 0.03
    repeats: int = 2
    energy_ms: float = 500.0
    seed: int = 0

    @property
    def visit_limit_ms(self) -> float:
        """Longer than any visit of a program whose first run was within `timeout_ms`: what takes longer hangs."""
        return (2 + LEAST_BLOCKS) * self.timeout_ms + self.warmup_ms + self.visit_ms + self.energy_ms


FINAL = TimingSettings(block_ms=1.0, warmup_ms=300.0, visits=10, visit_ms=100.0)
"""About a second and more for each program: for the figures that a user sees."""
