"""The context of a tiny experiment, and one pool for each executor and number of workers."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest

from nas.config import read
from nas.executors._context import Context
from nas.executors._pool import Pool
from nas.executors._role import Executor
from nas.progress import LineProgress
from nas.run import Run
from searchspaces.registry import kinds, resolve
from tests.nas.experiments import MODELS, written


@pytest.fixture(scope="package")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose shared weights are as they were drawn."""
    folder = tmp_path_factory.mktemp("context")
    return Run(read(written(folder)), folder, LineProgress(io.StringIO()))


@pytest.fixture(scope="package")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A whole run in this process."""
    folder = tmp_path_factory.mktemp("alone")
    (folder / "run").mkdir()
    run = Run(read(written(folder, MODELS)), folder / "run", LineProgress(io.StringIO()))
    run.execute()
    return run


@pytest.fixture(scope="package")
def context(run: Run) -> Context:
    return run.context


@pytest.fixture(scope="package")
def cluster() -> Iterator[Any]:
    """A Ray cluster of one node with two processor cores."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 2, "include_dashboard": False, "object_store_memory": 128 << 20}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cluster = Cluster(initialize_head=True, head_node_args=node)
        yield cluster
        cluster.shutdown()


SLOW = {"ray": pytest.mark.slow}
POOLS = [pytest.param((kind, n), marks=SLOW.get(kind, ())) for kind in kinds(Executor) for n in (1, 2)]


@pytest.fixture(scope="module", params=POOLS, ids=str)
def pool(request: pytest.FixtureRequest, context: Context) -> Iterator[Pool]:
    """Workers of each executor: one alone, and two."""
    kind, workers = request.param
    elsewhere = {"address": request.getfixturevalue("cluster").address} if kind == "ray" else {}
    with resolve(Executor, kind)(workers=workers, retries=1, **elsewhere).pool(context) as pool:
        yield pool
