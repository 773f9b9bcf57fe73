"""The roofline model against its formula."""

from __future__ import annotations

import pytest

from hardware.backends._role import Workload
from hardware.backends.roofline import Roofline
from searchspaces.architecture import Architecture
from searchspaces.blocks.channel_mixing import ChannelMixing
from searchspaces.channel_mixers.mlp import Mlp
from searchspaces.cost import cost
from searchspaces.quantization.integer import Integer
from tests.hardware.networks import BRIEF, FLOAT, MIXED

BLOCK, SHAPE = ChannelMixing(mixer=Mlp(ratio=4.0)), (64, 16, 16)
ONE = Architecture(SHAPE, (BLOCK,))
INT8 = Architecture(SHAPE, (BLOCK.model_copy(update={"quantization": Integer()}),))


def microseconds(backend: Roofline, architecture: Architecture) -> float:
    """The latency in microseconds."""
    return backend.estimate(architecture).milliseconds * 1e3


def test_it_is_deterministic_and_additive() -> None:
    backend = Roofline()
    whole = microseconds(backend, FLOAT) - backend.overhead_us
    alone = [microseconds(backend, Architecture(p.shape, (p.part,))) - backend.overhead_us for p in FLOAT.blocks()]
    assert whole == pytest.approx(sum(alone), rel=1e-12)
    assert backend.measure([Workload(FLOAT)] * 2, BRIEF) == [backend.estimate(FLOAT)] * 2


def test_bound_by_arithmetic_the_latency_is_macs_over_peak() -> None:
    backend = Roofline(overhead_us=0.0, bandwidth_gb=1e9, peak_gmacs=10.0)
    assert microseconds(backend, ONE) == pytest.approx(cost(BLOCK, SHAPE).macs / 10e3)
    assert microseconds(backend.model_copy(update={"threads": 2}), ONE) == pytest.approx(microseconds(backend, ONE) / 2)
    assert microseconds(backend, INT8) == pytest.approx(microseconds(backend, ONE) / backend.integer_speedup)


def test_bound_by_memory_the_latency_is_bytes_over_bandwidth() -> None:
    backend = Roofline(overhead_us=0.0, bandwidth_gb=2.0, peak_gmacs=1e9)
    block = cost(BLOCK, SHAPE)
    assert microseconds(backend, ONE) == pytest.approx((4 * block.parameters + block.activation_bytes) / 2e3)
    assert microseconds(backend, INT8) == pytest.approx(microseconds(backend, ONE) / 4)


def test_without_work_the_latency_is_that_of_the_kernels() -> None:
    backend = Roofline(overhead_us=3.0, bandwidth_gb=1e12, peak_gmacs=1e12)
    assert microseconds(backend, ONE) == pytest.approx(3.0 * (1 + cost(BLOCK, SHAPE).kernels))


def test_integers_shrink_the_model() -> None:
    whole, mixed = Roofline().estimate(FLOAT).model_bytes, Roofline().estimate(MIXED).model_bytes
    assert whole is not None
    assert mixed is not None
    assert whole / 4 < mixed < whole
