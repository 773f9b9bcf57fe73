"""Fusion: whether a runtime runs two blocks in a row as less than the two of them.

Where the runtime tells which kernels it executes, they are counted. Elsewhere latencies decide: two blocks that take
T1 and T2 apart and T12 together count as fused where T1 + T2 - T12 > 0.5 min(T1, T2), the test of nn-Meter (Zhang et
al., MobiSys 2021), here with the interval of the left side.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from hardware.backends._role import Backend, Progress
from hardware.design import Placed, kind_of
from hardware.measurement import Measurement
from hardware.profile import Profile, measured_networks
from hardware.store import LatencyStore
from hardware.subjects import Subject, subjects
from hardware.timing import TimingSettings
from searchspaces.architecture import Architecture, Placement
from searchspaces.blocks.transition import Transition

_SHARE = 0.5
_REACH = 1.96
"""Standard errors on either side: 95 % of a Gaussian."""
_REPEATS = 2
"""How often a pair that keeps its shape stands in the measured network."""


@dataclass(frozen=True)
class PairTest:
    """Two blocks in a row.

    Attributes:
        first: the block that comes first.
        second: the block that reads its output.
        apart_ms: contributions of both, each measured among its like.
        together_ms: contribution of the pair.
        error_ms: standard error of the difference of the two.
        kernels: executed kernels (apart, together), where the runtime tells.
    """

    first: Placement
    second: Placement
    apart_ms: tuple[float, float]
    together_ms: float
    error_ms: float
    kernels: tuple[int, int] | None = None

    @property
    def gain_ms(self) -> float:
        """T1 + T2 - T12; below 0 where the two together cost more."""
        return sum(self.apart_ms) - self.together_ms

    @property
    def fused(self) -> bool | None:
        """Whether the two are fused; None where the interval holds the threshold."""
        if self.kernels is not None:
            return self.kernels[1] < self.kernels[0]
        margin = self.gain_ms - _SHARE * min(self.apart_ms)
        return None if abs(margin) <= _REACH * self.error_ms else margin > 0


def adjacent(profile: Profile, networks: Iterable[Architecture], most: int) -> list[tuple[Placement, Placement]]:
    """The most frequent pair of measured blocks for each pair of kinds that follow each other, at most so many."""
    counts: Counter[tuple[Placement, Placement]] = Counter()
    for network in networks:
        counts.update(pair for pair in _pairs(profile, network) if all(_usable(profile, block) for block in pair))
    chosen: dict[tuple[str, str], tuple[Placement, Placement]] = {}
    for pair, _ in counts.most_common():
        chosen.setdefault((kind_of(pair[0].part), kind_of(pair[1].part)), pair)
    return list(chosen.values())[:most]


def _pairs(profile: Profile, network: Architecture) -> Iterator[tuple[Placement, Placement]]:
    """Each block that alone reads the output of another and reads nothing else, behind that other."""
    trace = network.traced()
    blocks = [Placement("", profile.backend.deployed(part), shape) for _, part, shape in trace.placements]
    readers = Counter(source for sources in trace.wires for source in sources)
    for block, sources in zip(blocks, trace.wires, strict=True):
        if len(sources) == 1 and sources[0] > 0 and readers[sources[0]] == 1:
            yield blocks[sources[0] - 1], block


def fusion(
    profile: Profile,
    pairs: Sequence[tuple[Placement, Placement]],
    store: LatencyStore,
    settings: TimingSettings | None = None,
    progress: Progress | None = None,
) -> list[PairTest]:
    """The test of each pair that can be measured; what the table holds is not measured again."""
    networks = [_network(profile, *pair) for pair in pairs]
    measured, kernels = (
        measured_networks(networks, profile.backend, store, settings, progress),
        _Kernels(profile.backend),
    )
    return [
        _tested(profile, pair, kernels.of(pair, network), found)
        for pair, network, found in zip(pairs, networks, measured, strict=True)
        if found.ok
    ]


def _tested(
    profile: Profile, pair: tuple[Placement, Placement], kernels: tuple[int, int] | None, found: Measurement
) -> PairTest:
    """The test of one measured pair."""
    first, second = pair
    frame = profile.measurements[subjects(profile.backend, first, profile.input_shape)[1]]
    repeats = _repeats(*pair)
    errors = [*(_error(profile, block) for block in pair), math.hypot(_spread(found), _spread(frame)) / repeats]
    return PairTest(
        first,
        second,
        (profile.contribution_ms(first), profile.contribution_ms(second)),
        (found.milliseconds - frame.milliseconds) / repeats,
        math.hypot(*errors),
        kernels,
    )


def _usable(profile: Profile, block: Placed) -> bool:
    return profile.measured(block) and not profile.failures([block]) and block.shape != profile.input_shape


def _repeats(first: Placement, second: Placement) -> int:
    """How often the pair can stand in a row."""
    return _REPEATS if second.part.output_shape(first.part.output_shape(first.shape)) == first.shape else 1


def _network(profile: Profile, first: Placement, second: Placement) -> Architecture:
    """The pair behind the frame."""
    frame = Transition(width=first.shape[0], stride=1)
    return Architecture(first.shape, (frame, *(first.part, second.part) * _repeats(first, second)))


class _Kernels:
    """How many kernels networks are executed as, each asked for once."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._counts: dict[Architecture, int | None] = {}

    def of(self, pair: tuple[Placement, Placement], network: Architecture) -> tuple[int, int] | None:
        """Those that a pair takes apart and together, each beyond the frame; None if the runtime does not tell."""
        repeats = _repeats(*pair)
        frames = [self._count(Subject(None, block.shape, 0, framed=True).architecture) for block in pair]
        alone = [self._count(Subject(block.part, block.shape, 1, framed=True).architecture) for block in pair]
        counts = [self._count(network), *frames, *alone]
        if any(count is None for count in counts):
            return None
        together, first_frame, second_frame, first, second = (count or 0 for count in counts)
        return (first - first_frame + second - second_frame) * repeats, together - first_frame

    def _count(self, network: Architecture) -> int | None:
        if network not in self._counts:
            told = self._backend.kernels(network)
            self._counts[network] = None if told is None else len(told)
        return self._counts[network]


def _error(profile: Profile, block: Placed) -> float:
    """Standard error of a contribution."""
    chain, frame = subjects(profile.backend, block, profile.input_shape)
    return math.hypot(*(_spread(profile.measurements[item]) for item in (chain, frame))) / chain.length


def _spread(measurement: Measurement) -> float:
    """Standard error of a median: 1.25 sigma / sqrt(n), sigma from the tenth and ninetieth percentile of a Gaussian."""
    low, high = measurement.latency_ms_p10 or 0.0, measurement.latency_ms_p90 or 0.0
    return 1.2533 * (high - low) / 2.563 / math.sqrt(max(measurement.samples, 1))
