from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def precise(double: None) -> None:
    """Channel mixers are compared in double precision."""
