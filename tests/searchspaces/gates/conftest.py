from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def precise(double: None) -> None:
    """Gates are compared in double precision."""
