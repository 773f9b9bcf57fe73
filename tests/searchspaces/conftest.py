"""What the tests of many operators need."""

from __future__ import annotations

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
