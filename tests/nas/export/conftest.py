"""Bundles that several tests read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from nas.export._bundle import write_bundle
from nas.export._role import Deployable
from tests.nas.export.networks import BRIEF, INTEGER, deployable, metaformer


class Written(NamedTuple):
    model: Deployable
    folder: Path
    returned: dict[str, Any]


@pytest.fixture(scope="session")
def integer(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """A bundle of a network of which some blocks are int8."""
    mixers = [{"kind": "depthwise"}, {"kind": "attention", "heads": 2, "head_width": 4}]
    model = deployable(metaformer(*mixers, quantization=INTEGER), error=0.25, latency_ms=0.125)
    folder = tmp_path_factory.mktemp("exports") / model.architecture.id
    return Written(model, folder, write_bundle(model, folder, settings=BRIEF))
