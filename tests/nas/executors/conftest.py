"""The context of a tiny experiment, and one pool for each executor and number of workers."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from nas.config import read
from nas.executors._context import Context
from nas.executors._pool import Pool
from nas.executors._role import Executor
from nas.progress import LineProgress
from nas.run import Run
from searchspaces.registry import kinds, resolve
from tests.nas.experiments import written


@pytest.fixture(scope="package")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose shared weights are as they were drawn."""
    folder = tmp_path_factory.mktemp("context")
    return Run(read(written(folder)), folder, LineProgress(io.StringIO()))


@pytest.fixture(scope="package")
def context(run: Run) -> Context:
    return run.context


@pytest.fixture(scope="package", params=[(kind, n) for kind in kinds(Executor) for n in (1, 2)], ids=str)
def pool(request: pytest.FixtureRequest, context: Context) -> Iterator[Pool]:
    """Workers of each executor: one alone, and two."""
    kind, workers = request.param
    with resolve(Executor, kind)(workers=workers, retries=1).pool(context) as pool:
        yield pool
