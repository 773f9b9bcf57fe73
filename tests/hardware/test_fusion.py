"""Fusion of neighbouring blocks: by kernels where they are told, else by the interval of what is gained."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from hardware.backends._role import Backend, Progress, Workload
from hardware.backends.onnxruntime import OnnxRuntime
from hardware.backends.roofline import Roofline
from hardware.fusion import PairTest, adjacent, fusion
from hardware.measurement import Measurement
from hardware.profile import profile
from hardware.store import LatencyStore
from hardware.timing import TimingSettings
from searchspaces.architecture import Architecture, Placement
from searchspaces.blocks.channel_mixing import ChannelMixing
from searchspaces.blocks.token_mixing import TokenMixing
from searchspaces.blocks.transition import Transition
from searchspaces.channel_mixers.mlp import Mlp
from searchspaces.mixers.depthwise import Depthwise
from tests.hardware.networks import BRIEF

MIX, MLP = TokenMixing(mixer=Depthwise(kernel=3)), ChannelMixing(mixer=Mlp())
NETWORK = Architecture((1, 8, 8), (Transition(width=16, stride=1), MIX, MLP, Transition(width=16, stride=1), MLP))


class Fusing(Backend):
    """The roofline model, which runs a token mixer before a channel mixer for nothing; every sample is noisy."""

    noise: float = 0.0

    def measure(
        self, jobs: Sequence[Workload], settings: TimingSettings, progress: Progress | None = None
    ) -> list[Measurement]:
        """The model's value less what is fused."""
        return [self._one(job.architecture) for job in jobs]

    def measure_export(self, directory: Path, settings: TimingSettings) -> Measurement:
        """Not used here."""
        return Measurement(latency_ms=0.0)

    def _one(self, network: Architecture) -> Measurement:
        parts = [block.part for block in network.blocks()]
        fused = sum(pair == (MIX, MLP) for pair in pairwise(parts))
        saved = fused * alone_ms(MIX)
        latency = Roofline().estimate(network).milliseconds - saved
        spread = self.noise * latency
        return Measurement(latency, latency - spread, latency + spread, samples=20)


def alone_ms(part: TokenMixing | ChannelMixing) -> float:
    with_block, without = (Architecture((16, 8, 8), parts) for parts in ((part,), ()))
    return Roofline().estimate(with_block).milliseconds - Roofline().estimate(without).milliseconds


def pair_tests(backend: Backend, store: LatencyStore) -> dict[tuple[str, str], PairTest]:
    found = profile(NETWORK.blocks(), NETWORK.input_shape, backend, store, BRIEF)
    pairs = fusion(found, adjacent(found, [NETWORK], most=9), store, BRIEF)
    return {(pair.first.part.kind(), pair.second.part.kind()): pair for pair in pairs}


@pytest.fixture
def store(tmp_path: Path) -> LatencyStore:
    return LatencyStore(tmp_path / "table.sqlite")


def test_each_pair_of_kinds_is_tested_once(store: LatencyStore) -> None:
    assert set(pair_tests(Roofline(), store)) == {
        ("token_mixing", "channel_mixing"),
        ("channel_mixing", "transition"),
        ("transition", "channel_mixing"),
    }


def test_an_additive_backend_fuses_nothing(store: LatencyStore) -> None:
    for pair in pair_tests(Roofline(), store).values():
        assert pair.gain_ms == pytest.approx(0.0, abs=1e-9)
        assert pair.fused is False


def test_what_is_gained_tells_the_fused_pair(store: LatencyStore) -> None:
    found = pair_tests(Fusing(), store)
    pair = found["token_mixing", "channel_mixing"]
    assert pair.gain_ms == pytest.approx(alone_ms(MIX))
    assert pair.fused is True
    assert found["channel_mixing", "transition"].fused is False


def test_noise_leaves_it_open(store: LatencyStore) -> None:
    pair = pair_tests(Fusing(noise=2.0), store)["token_mixing", "channel_mixing"]
    assert pair.error_ms > 0
    assert pair.fused is None


def test_kernels_decide_where_they_are_told() -> None:
    places = Placement("", MIX, (16, 8, 8)), Placement("", MLP, (16, 8, 8))
    noisy = PairTest(*places, (1.0, 1.0), 2.0, 9.0, kernels=(5, 4))
    assert noisy.fused is True
    assert PairTest(*places, (1.0, 1.0), 1.0, 0.0, kernels=(5, 5)).fused is False


def test_onnxruntime_tells_its_kernels() -> None:
    told = OnnxRuntime().kernels(NETWORK)
    assert told is not None
    assert set(told) >= {"Conv", "Gelu"}
    assert OnnxRuntime().kernels(Architecture((1, 8, 8), ())) == ("Identity",)
