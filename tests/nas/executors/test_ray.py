"""Ray: nodes, workers and drivers that are lost, and what is shared."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from hardware.backends import _role
from hardware.backends._role import UnavailableError
from nas.config import read
from nas.executors._context import Context
from nas.executors._pool import Lost, Pool
from nas.executors.ray import Ray
from nas.progress import LineProgress
from nas.run import Run
from tests.nas.executors.jobs import Dies, Mapping, Process, Square
from tests.nas.executors.test_executors_conformance import StoppedError
from tests.nas.executors.test_processes import counted
from tests.nas.executors.test_runs import assert_same
from tests.nas.experiments import MODELS, written
from tests.nas.test_run import SEARCH, opened, rows, trials

NODE = {"num_cpus": 1, "object_store_memory": 128 << 20}


def experiment(folder: Path, executor: str) -> Path:
    folder.mkdir(exist_ok=True)
    return written(folder, MODELS.replace("{kind: local, workers: 1}", executor))


@pytest.fixture
def pool(cluster: Any, context: Context) -> Iterator[Pool]:
    """Two actors on one node."""
    with Ray(workers=2, retries=1, address=cluster.address).pool(context) as pool:
        yield pool


def test_without_ray_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(_role, "find_spec", lambda package: None)
    with pytest.raises(UnavailableError, match=r"ray needs ray, .*pip install \"hardware-nas\[ray\]\""):
        opened(experiment(tmp_path, "{kind: ray}"), tmp_path / "run").execute()
    assert not (tmp_path / "run" / "archive.sqlite").exists(), "told before anything is computed"


@pytest.mark.slow
def test_weights_are_in_the_object_store_and_recalibration_leaves_them_alone(pool: Pool) -> None:
    for file, untouched in pool.map([Mapping(), Mapping()]):  # type: ignore[misc]
        assert "plasma" in file and untouched


@pytest.mark.slow
def test_a_lost_worker_costs_its_job_another_attempt_and_nothing_else(pool: Pool, tmp_path: Path) -> None:
    jobs = [Square(1), Dies(counted(tmp_path, "once"), 1), Square(2), Dies(counted(tmp_path, "always"), 9), Square(3)]
    *found, lost, last = pool.map(jobs)
    assert (found, last) == ([1, 1, 4], 9)
    assert isinstance(lost, Lost) and lost.reason.startswith("its worker was lost 2 times, last: The actor ")
    assert len(list((tmp_path / "always").iterdir())) == 2


def computes(number: int) -> bool:
    """Whether a process has not ended."""
    try:
        return psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.slow
def test_where_a_round_is_left_no_worker_of_this_machine_computes_on(pool: Pool) -> None:
    busy: list[int] = []

    def leave(number: int, words: str) -> None:
        busy.append(int(words))
        raise StoppedError

    with pytest.raises(StoppedError):
        list(pool.map([Process(60), Process(60)], hear=leave))
    assert not computes(busy[0])
    list(pool.map([Process(), Process()]))
    idle = set(pool.map([Process(0.5), Process(0.5)]))
    assert len(idle) == 2
    pool.close()
    assert not any(computes(int(str(number))) for number in idle)


@pytest.mark.slow
def test_a_lost_node_costs_its_jobs_another_attempt(cluster: Any, context: Context) -> None:
    node = cluster.add_node(**NODE)
    with Ray(workers=3, retries=1, address=cluster.address).pool(context) as pool:
        list(pool.map([Process() for _ in range(3)]))
        heard: list[int] = []

        def lose(number: int, words: str) -> None:
            heard.append(int(words))
            if len(heard) == 3:
                cluster.remove_node(node, allow_graceful=False)

        found = list(pool.map([Process(1.0) for _ in range(4)], hear=lose))
    assert len(set(heard[:3])) == 3, "three jobs were begun at once"
    assert len(found) == 4 and len(set(found)) == 2 and set(found) < set(heard), "two workers did them all"


@pytest.mark.slow
def test_a_run_that_loses_a_node_ends_with_the_archive_and_the_files_of_local(
    cluster: Any, alone: Run, tmp_path: Path
) -> None:
    node = cluster.add_node(**NODE)
    config = experiment(tmp_path, f"{{kind: ray, workers: 3, address: '{cluster.address}'}}")
    (tmp_path / "run").mkdir()
    run = Run(read(config), tmp_path / "run", LineProgress(io.StringIO()))

    def lose() -> None:
        if node in cluster.worker_nodes and rows(run.folder / "archive.sqlite") >= 3:
            cluster.remove_node(node, allow_graceful=False)

    run.check = lose
    run.execute()
    assert node not in cluster.worker_nodes
    assert_same(run.folder, alone.folder)


@pytest.mark.exhaustive
def test_a_killed_driver_takes_its_ray_with_it_and_is_resumed(alone: Run, tmp_path: Path) -> None:
    config, folder = experiment(tmp_path, "{kind: ray, workers: 2}"), tmp_path / "run"
    archive = folder / "archive.sqlite"
    folder.mkdir()
    process = subprocess.Popen([sys.executable, "-c", SEARCH, config, folder], stdout=subprocess.DEVNULL)
    while process.poll() is None and not (archive.exists() and rows(archive)):
        time.sleep(0.002)
    started = psutil.Process(process.pid).children(recursive=True)
    assert "raylet" in {child.name() for child in started}
    open_to = {place.laddr.ip for child in started for place in child.net_connections() if place.status == "LISTEN"}
    assert open_to and open_to <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    assert {child.environ().get("RAY_USAGE_STATS_ENABLED") for child in started if child.name() == "raylet"} == {"0"}
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(trials(folder)) < 12
    assert not psutil.wait_procs([child for child in started if "Agent" not in child.name()], timeout=60)[1]
    done = subprocess.run([sys.executable, "-c", SEARCH, config, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert trials(folder) == trials(alone.folder)
