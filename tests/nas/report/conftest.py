from __future__ import annotations

from pathlib import Path

import pytest
from synthetic import synthetic_run

from nas.report.page import write_report


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with its report; tests leave it as it is."""
    folder = synthetic_run(tmp_path_factory.mktemp("runs") / "digits-1")
    write_report(folder)
    return folder
