"""What the tests of many operators need."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest
import torch


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "oracle(*kinds): compares operators with an independent implementation")


@pytest.fixture
def double() -> Iterator[None]:
    """Double precision, and the same random numbers for every test."""
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="session")
def shared_registry() -> Iterator[None]:
    """torch fills the registry of its ONNX exporter anew for every export, which is half of a small one's time."""
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    once = staticmethod(functools.cache(ONNXRegistry.from_torchlib))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ONNXRegistry, "from_torchlib", once)
        yield
