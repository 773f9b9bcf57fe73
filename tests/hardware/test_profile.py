"""The latency table of a space: measured once, additive, surviving kills."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from hardware.backends._role import Backend, Progress, Workload
from hardware.backends.roofline import Roofline
from hardware.backends.torch_eager import TorchEager
from hardware.measurement import Measurement, MeasurementError
from hardware.profile import Budget, profile
from hardware.store import LatencyStore, StoreError
from hardware.subjects import CHAIN, subjects
from hardware.timing import TimingSettings
from searchspaces.architecture import Architecture
from searchspaces.blocks.channel_mixing import ChannelMixing
from searchspaces.channel_mixers.mlp import Mlp
from searchspaces.quantization.integer import Integer
from tests.hardware.networks import FLOAT, INPUT, MIXED, Untranslatable

PLACEMENTS = [*FLOAT.blocks(), *MIXED.blocks()]


class Counting(Backend):
    """The roofline model, whose measurements are counted, with a bias or failures on demand."""

    bias_ms: float = 0.0
    """Added to chains of one block."""
    failing: str = ""
    """State of every network that holds an untranslatable block."""

    supports_integer = True

    def measure(
        self, jobs: Sequence[Workload], settings: TimingSettings, progress: Progress | None = None
    ) -> list[Measurement]:
        """The model's value for each network."""
        MEASURED.extend(job.architecture for job in jobs)
        if progress:
            progress(len(jobs), len(jobs))
        return [self._one(job.architecture) for job in jobs]

    def measure_export(self, directory: Path, settings: TimingSettings) -> Measurement:
        """Not used here."""
        return Measurement(latency_ms=0.0)

    def _one(self, architecture: Architecture) -> Measurement:
        blocks = architecture.blocks()
        if self.failing and any(isinstance(place.part, Untranslatable) for place in blocks):
            return Measurement(state=self.failing, reason="their words")  # type: ignore[arg-type]
        latency = Roofline().estimate(architecture).milliseconds
        return Measurement(latency_ms=latency + self.bias_ms * (len(blocks) == 1))


MEASURED: list[Architecture] = []


@pytest.fixture
def store(tmp_path: Path) -> LatencyStore:
    MEASURED.clear()
    return LatencyStore(tmp_path / "table.sqlite")


def test_contributions_and_overhead_add_up_to_the_network(store: LatencyStore) -> None:
    table = profile(PLACEMENTS, INPUT, Roofline(), store)
    for architecture in (FLOAT, MIXED):
        expected = Roofline().estimate(architecture).milliseconds
        assert table.predict_ms(architecture) == pytest.approx(expected, rel=1e-12)
        contributions = table.contributions_ms(architecture.blocks())
        assert contributions.shape == (len(architecture.blocks()),)
        assert contributions.sum() + table.overhead_ms == pytest.approx(expected, rel=1e-12)


def test_each_distinct_chain_is_measured_once(store: LatencyStore) -> None:
    table = profile(PLACEMENTS * 3, INPUT, Counting(), store)
    assert len(MEASURED) == len(set(MEASURED)) == len(table.measurements)


def test_a_second_profile_measures_nothing(store: LatencyStore, tmp_path: Path) -> None:
    first = profile(PLACEMENTS, INPUT, Counting(), store)
    count = len(MEASURED)
    with LatencyStore(tmp_path / "table.sqlite") as again:
        assert profile(PLACEMENTS, INPUT, Counting(), again).measurements == first.measurements
    assert len(MEASURED) == count


def test_another_device_key_shares_nothing(store: LatencyStore) -> None:
    profile(PLACEMENTS, INPUT, Counting(), store)
    count = len(MEASURED)
    profile(PLACEMENTS, INPUT, Counting(threads=2), store)
    assert len(MEASURED) == 2 * count


def test_only_what_is_missing_is_measured(store: LatencyStore) -> None:
    profile(PLACEMENTS[:3], INPUT, Counting(), store)
    known = set(MEASURED)
    MEASURED.clear()
    profile(PLACEMENTS, INPUT, Counting(), store)
    assert MEASURED
    assert not known & set(MEASURED)


def test_integer_policies_that_are_deployed_alike_share_a_row(store: LatencyStore) -> None:
    parts = tuple(ChannelMixing(mixer=Mlp(), quantization=Integer(weight_bits=bits)) for bits in (2, 4, 8))
    table = profile(Architecture((16, 4, 4), parts).blocks(), INPUT, Counting(), store)
    assert sorted(subject.length for subject in table.measurements) == [0, 0, CHAIN]


def test_a_block_is_measured_as_a_chain_behind_a_frame_and_compared_with_the_frame(store: LatencyStore) -> None:
    table = profile(PLACEMENTS, INPUT, Counting(bias_ms=1e-3), store)
    place = FLOAT.blocks()[1]
    chain, frame = subjects(Counting(), place, INPUT)
    assert (chain.length, frame.length, chain.framed, frame.framed) == (CHAIN, 0, True, True)
    assert len(chain.architecture.layers) == CHAIN + 1 and len(frame.architecture.layers) == 1
    expected = (table.measurements[chain].milliseconds - table.measurements[frame].milliseconds) / CHAIN
    assert table.contribution_ms(place) == expected


def test_a_block_on_the_networks_input_is_compared_with_the_empty_network() -> None:
    place = FLOAT.blocks()[0]
    chain, empty = subjects(Counting(), place, INPUT)
    assert place.shape == INPUT and not chain.framed
    assert chain.architecture.layers[0] == place.part and empty.architecture.layers == ()


def test_contributions_are_never_negative_and_clipped_ones_are_named(store: LatencyStore) -> None:
    table = profile(PLACEMENTS, INPUT, Counting(bias_ms=1e3), store)
    clipped = table.clipped(FLOAT.blocks())
    assert clipped == FLOAT.blocks()[1:]
    assert all(table.contribution_ms(place) == 0 for place in clipped)


def test_a_block_that_cannot_run_costs_infinity_and_says_why(store: LatencyStore) -> None:
    (place,) = Architecture(INPUT, (Untranslatable(),)).blocks()
    table = profile([place, *PLACEMENTS], INPUT, Counting(failing="unsupported_operator"), store)
    assert table.contributions_ms([place, PLACEMENTS[0]])[0] == math.inf
    assert np.isfinite(table.contributions_ms(PLACEMENTS)).all()
    assert table.failures([place, *PLACEMENTS])[place].reason == "their words"
    with pytest.raises(MeasurementError, match="their words"):
        table.contribution_ms(place)


@pytest.mark.parametrize(
    ("state", "again"), [("unsupported_operator", 0), ("compile_failed", 0), ("timeout", 1), ("out_of_memory", 1)]
)
def test_failures_that_may_pass_are_tried_again(store: LatencyStore, state: str, again: int) -> None:
    placements = Architecture(INPUT, (Untranslatable(),)).blocks()
    profile(placements, INPUT, Counting(failing=state), store)
    MEASURED.clear()
    profile(placements, INPUT, Counting(failing=state), store)
    assert len(MEASURED) == again


def test_progress_ends_at_the_number_of_missing_chains(store: LatencyStore) -> None:
    seen: list[tuple[int, int]] = []
    many = [
        place
        for ratio in range(1, 120)
        for place in Architecture((8, 4, 4), (ChannelMixing(mixer=Mlp(ratio=float(ratio))),)).blocks()
    ]
    profile(many, INPUT, Roofline(), store, progress=lambda *at: seen.append(at))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (len(many) + 2,) * 2
    seen.clear()
    profile(many, INPUT, Roofline(), store, progress=lambda *at: seen.append(at))
    assert seen == []


def test_a_killed_profile_goes_on_where_it_was(tmp_path: Path) -> None:
    program = (
        "import sys, os, signal\n"
        "from tests.hardware import test_profile as t\n"
        "from hardware import profile as p\n"
        "p._BATCH = 4\n"
        "class Killed(t.LatencyStore):\n"
        "    batches = 0\n"
        "    def put(self, *rows):\n"
        "        if Killed.batches == 2: os.kill(os.getpid(), signal.SIGKILL)\n"
        "        Killed.batches += 1\n"
        "        super().put(*rows)\n"
        "p.profile(t.PLACEMENTS, t.INPUT, t.Roofline(), Killed(sys.argv[1]))\n"
    )
    path = tmp_path / "table.sqlite"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    killed = subprocess.run([sys.executable, "-c", program, str(path)], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    seen: list[tuple[int, int]] = []
    with LatencyStore(path) as store:
        assert len(store.get(Roofline().key())) == 8
        table = profile(PLACEMENTS, INPUT, Roofline(), store, progress=lambda *at: seen.append(at))
    assert seen[-1] == (len(table.measurements) - 8,) * 2
    assert table.predict_ms(FLOAT) == pytest.approx(Roofline().estimate(FLOAT).milliseconds, rel=1e-12)


def test_a_damaged_table_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "table.sqlite").write_bytes(b"\x00garbage" * 1000)
    with pytest.raises(StoreError, match="move it away to measure anew"):
        LatencyStore(tmp_path / "table.sqlite")


def test_a_backend_without_integers_shares_the_float_rows(store: LatencyStore) -> None:
    brief = TimingSettings(block_ms=0.05, warmup_ms=0.2, visits=1, visit_ms=0.1, rounds=1)
    table = profile(PLACEMENTS, INPUT, TorchEager(), store, brief)
    assert table.predict_ms(FLOAT) == table.predict_ms(MIXED) > 0


def test_no_placements_no_measurements(store: LatencyStore) -> None:
    assert len(profile([], INPUT, Counting(), store).measurements) == 1


def test_under_a_budget_what_is_left_out_is_estimated(store: LatencyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hardware.profile._BATCH", 2)
    nothing = profile(PLACEMENTS, INPUT, Counting(), store, budget=Budget(0.0, np.ones(len(PLACEMENTS))))
    assert all(subject.part is None for subject in nothing.measurements), "frames are needed for any estimate"
    assert not any(map(nothing.measured, PLACEMENTS))
    assert np.all(nothing.contributions_ms(PLACEMENTS) > 0)
    whole = profile(PLACEMENTS, INPUT, Counting(), store, budget=Budget(1.0, np.ones(len(PLACEMENTS))))
    assert all(map(whole.measured, PLACEMENTS))
    assert len(MEASURED) == len(set(MEASURED)) == len(whole.measurements)


def test_measured_blocks_keep_their_values_beside_estimates(store: LatencyStore) -> None:
    profile(PLACEMENTS[1:3], INPUT, Counting(), store)
    table = profile(PLACEMENTS, INPUT, Counting(), store, budget=Budget(0.0, np.ones(len(PLACEMENTS))))
    values = table.contributions_ms(PLACEMENTS)
    for number in (1, 2):
        assert values[number] == table.contribution_ms(PLACEMENTS[number])
    exact = profile(PLACEMENTS, INPUT, Counting(), store).contributions_ms(PLACEMENTS)
    np.testing.assert_allclose(values, exact, rtol=0.25)


def test_the_most_used_blocks_come_first_under_a_budget(store: LatencyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hardware.profile._BATCH", 1)
    usage = np.zeros(len(PLACEMENTS))
    usage[2] = 1.0
    profile(PLACEMENTS, INPUT, Counting(), store, budget=Budget(1.0, usage))
    blocks = [architecture for architecture in MEASURED if len(architecture.blocks()) > 1]
    assert PLACEMENTS[2].part in blocks[0].layers
