"""Shapes and types of the operators are checked while the tests run, and only then."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

CHECKED = ["mixers", "channel_mixers", "gates", "quantization", "blocks"]
install_import_hook([f"searchspaces.{folder}" for folder in CHECKED], "beartype.beartype")

settings.register_profile("nas", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("nas")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Exhaustive tests are for continuous integration, which has more time than a person."""
    left = [item for item in items if item.get_closest_marker("exhaustive") and not os.environ.get("CI")]
    items[:] = [item for item in items if item not in left]
    config.hook.pytest_deselected(items=left)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's latency table."""
    monkeypatch.setenv("NAS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
