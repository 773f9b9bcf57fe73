"""Larger blocks that measure faster: found, measured once more, and told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from hardware.backends._role import Backend, Progress, Workload
from hardware.backends.roofline import Roofline
from hardware.measurement import Measurement
from hardware.monotonicity import AGAIN, confirmed, inversions
from hardware.profile import profile
from hardware.store import LatencyStore
from hardware.timing import TimingSettings
from searchspaces.architecture import Placement
from searchspaces.blocks.token_mixing import TokenMixing
from searchspaces.mixers.depthwise import Depthwise

SHAPE = (8, 16, 16)
PLACED = [Placement("", TokenMixing(mixer=Depthwise(kernel=kernel)), SHAPE) for kernel in (3, 5, 7)]
PLACED.append(Placement("", TokenMixing(mixer=Depthwise(kernel=3, dilation=2)), SHAPE))


class Wrong(Backend):
    """The roofline model, but for kernels of seven, which are measured too fast, the first time or always."""

    mended: bool = True

    def measure(
        self, jobs: Sequence[Workload], settings: TimingSettings, progress: Progress | None = None
    ) -> list[Measurement]:
        """The model's value, or too little."""
        return [self._one(job, settings) for job in jobs]

    def measure_export(self, directory: Path, settings: TimingSettings) -> Measurement:
        """Not used here."""
        return Measurement(latency_ms=0.0)

    def _one(self, job: Workload, settings: TimingSettings) -> Measurement:
        parts = [block.part for block in job.architecture.blocks() if isinstance(block.part, TokenMixing)]
        CALLS.append((len(parts), settings.visits))
        right = self.mended and settings.visits > TimingSettings().visits
        factor = 0.5 if not right and any(part.mixer == Depthwise(kernel=7) for part in parts) else 1.0
        return Measurement(latency_ms=factor * Roofline().estimate(job.architecture).milliseconds)


CALLS: list[tuple[int, int]] = []


@pytest.fixture
def store(tmp_path: Path) -> LatencyStore:
    CALLS.clear()
    return LatencyStore(tmp_path / "table.sqlite")


def test_a_sound_profile_has_none(store: LatencyStore) -> None:
    assert inversions(profile(PLACED, (1, 16, 16), Roofline(), store), PLACED) == []


def test_an_inversion_names_the_number_and_both_blocks(store: LatencyStore) -> None:
    (found,) = inversions(profile(PLACED, (1, 16, 16), Wrong(), store), PLACED)
    assert (found.smaller, found.larger, found.field) == (PLACED[1], PLACED[2], "mixer.kernel")
    assert found.larger_ms < found.smaller_ms
    assert "mixer.kernel 7" in str(found)
    assert "(8, 16, 16)" in str(found)


def test_an_inversion_is_measured_again_more_carefully_and_mended(store: LatencyStore) -> None:
    first = profile(PLACED, (1, 16, 16), Wrong(), store)
    CALLS.clear()
    mended = confirmed(first, PLACED, store)
    assert len(CALLS) == 2
    assert all(visits > TimingSettings().visits for _, visits in CALLS)
    assert inversions(mended, PLACED) == []
    assert profile(PLACED, (1, 16, 16), Wrong(), store).measurements == mended.measurements


def test_one_that_stays_is_kept_and_not_measured_a_third_time(store: LatencyStore) -> None:
    backend = Wrong(mended=False)
    kept = confirmed(profile(PLACED, (1, 16, 16), backend, store), PLACED, store)
    assert len(inversions(kept, PLACED)) == 1
    assert sum(measurement.reason == AGAIN for measurement in kept.measurements.values()) == 2
    CALLS.clear()
    assert confirmed(profile(PLACED, (1, 16, 16), backend, store), PLACED, store) == kept
    assert CALLS == []
