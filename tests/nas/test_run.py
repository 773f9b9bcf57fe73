"""A run: the same search whenever and wherever it is killed, and the files that it leaves."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from nas.archive import Archive, ResumeRefused, Trial
from nas.config import read
from nas.progress import LineProgress
from nas.run import Run
from searchspaces.cost import architecture_cost
from tests.nas.experiments import TINY, written

SEARCH = """
import io, sys
from pathlib import Path
from nas.config import read
from nas.progress import LineProgress
from nas.run import Run
run = Run(read(Path(sys.argv[1])), Path(sys.argv[2]), LineProgress(io.StringIO()))
run.train()
print("trained", flush=True)
run.search()
print("searched", flush=True)
"""


def opened(config: Path, folder: Path) -> Run:
    folder.mkdir(exist_ok=True)
    return Run(read(config), folder, LineProgress(io.StringIO()))


def trials(folder: Path) -> list[Trial]:
    with Archive.open(folder / "archive.sqlite", None) as archive:
        return archive.trials()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    folder = tmp_path_factory.mktemp("finished")
    config = written(folder)
    run = opened(config, folder / "run")
    run.train()
    run.search()
    return config, run


def test_the_search_evaluates_what_it_was_asked_to(finished: tuple[Path, Run]) -> None:
    _, run = finished
    found = trials(run.folder)
    assert len(found) == 12 and len({trial.architecture_id for trial in found}) == 12
    for trial in found:
        architecture = run.space.decode(np.array(trial.genes))
        assert architecture.id == trial.architecture_id
        cost = architecture_cost(architecture)
        assert trial.values["macs"] == cost.macs and trial.values["parameters"] == cost.parameters
        assert trial.values["model_bytes"] == 4 * cost.parameters
        assert trial.values["latency_ms"] == pytest.approx(run.profiler.profile.predict_ms(architecture), rel=1e-6)
        assert 0 <= trial.values["error"] <= 1


def kill_when(config: Path, folder: Path, trials_before: int, seconds: float) -> None:
    """Runs the search and kills it when the archive holds so many trials, and a little later."""
    folder.mkdir(exist_ok=True)
    process = subprocess.Popen([sys.executable, "-c", SEARCH, config, folder], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    if trials_before >= 0:
        process.stdout.readline()
    archive = folder / "archive.sqlite"
    while process.poll() is None and trials_before > 0:
        if archive.exists() and rows(archive) >= trials_before:
            break
        time.sleep(0.002)
    time.sleep(seconds)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def rows(archive: Path) -> int:
    import sqlite3

    connection = sqlite3.connect(f"file:{archive}?mode=ro", uri=True, timeout=1)
    try:
        return int(connection.execute("SELECT COUNT(*) FROM trials").fetchone()[0])
    except sqlite3.Error:
        return 0
    finally:
        connection.close()


@pytest.mark.slow
@pytest.mark.parametrize(("trials_before", "seconds"), [(-1, 3.0), (0, 0.0), (1, 0.0), (7, 0.01)])
def test_a_killed_search_resumes_to_the_uninterrupted_one(
    finished: tuple[Path, Run], tmp_path: Path, trials_before: int, seconds: float
) -> None:
    config, uninterrupted = finished
    folder = tmp_path / "run"
    kill_when(config, folder, trials_before, seconds)
    done = subprocess.run([sys.executable, "-c", SEARCH, config, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert trials(folder) == trials(uninterrupted.folder)


def test_a_changed_configuration_is_refused_with_what_differs(finished: tuple[Path, Run], tmp_path: Path) -> None:
    _, run = finished
    changed = written(tmp_path, TINY.replace("random: 1", "random: 2"))
    with pytest.raises(ResumeRefused, match=r"training\.random: 1 before, 2 now"):
        opened(changed, run.folder).search()


def test_the_run_says_all_that_it_depends_on(finished: tuple[Path, Run]) -> None:
    from nas.commands import opened as reopened

    _, run = finished
    run.write_resolved()
    again = reopened(run.folder)
    assert again.fingerprint == run.fingerprint and json.loads(again.fingerprint)["seed"] == 0
    assert "torch:" in (run.folder / "resolved.yaml").read_text()


def test_a_space_smaller_than_the_evaluations_ends_early(tmp_path: Path) -> None:
    text = TINY.replace("{choice: [2, 4]}", "2").replace("{choice: [1, 2]}", "1")
    run = opened(written(tmp_path, text), tmp_path / "run")
    run.train()
    run.search()
    assert len(trials(run.folder)) == run.space.count == 6
