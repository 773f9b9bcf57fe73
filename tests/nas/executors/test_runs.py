"""Whole runs: the same archive and the same files whatever the number of workers, and whatever is killed on the way."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from nas.config import read
from nas.executors._here import Here
from nas.executors._pool import Check, Hear, Job, Lost, R
from nas.progress import LineProgress
from nas.report.page import write_report
from nas.run import Run
from tests.nas.experiments import MODELS, written
from tests.nas.test_commands import COMMAND
from tests.nas.test_run import kill_when, opened, rows, trials

EXECUTE = """
import io, sys
from pathlib import Path
from nas.config import read
from nas.progress import LineProgress
from nas.run import Run
if __name__ == "__main__":
    Run(read(Path(sys.argv[1])), Path(sys.argv[2]), LineProgress(sys.stderr)).execute()
"""


def config(folder: Path, workers: int, text: str = MODELS) -> Path:
    folder.mkdir(exist_ok=True)
    return written(folder, text.replace("workers: 1", f"workers: {workers}"))


def files(folder: Path) -> dict[str, bytes]:
    """The contents of the exported files by name, but for the program's, which hold times and addresses."""
    paths = [path for path in sorted((folder / "exports").rglob("*.*")) if path.suffix in (".onnx", ".py", ".md")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def weights(folder: Path) -> dict[str, bytes]:
    """The exported weights by file and name; the order of a file's metadata differs from time to time."""
    paths = sorted((folder / "exports").rglob("*.safetensors"))
    return {f"{path.parent.name}.{n}": t.tobytes() for path in paths for n, t in load_file(path).items()}


def front(folder: Path) -> list[dict[str, object]]:
    """The front without sizes, which those of the program are among."""
    found = json.loads((folder / "front.json").read_text(encoding="utf-8"))
    return [{name: value for name, value in entry.items() if name != "bytes"} for entry in found]


def assert_same(folder: Path, expected: Path) -> None:
    assert trials(folder) == trials(expected)
    assert weights(folder) == weights(expected) and len(weights(folder)) >= 8
    assert files(folder) == files(expected) and len(files(folder)) == 6
    assert front(folder) == front(expected)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_the_number_of_workers_changes_neither_archive_nor_files(alone: Run, tmp_path: Path, workers: int) -> None:
    said = io.StringIO()
    (tmp_path / "run").mkdir()
    Run(read(config(tmp_path, workers)), tmp_path / "run", LineProgress(said, every=0)).execute()
    assert_same(tmp_path / "run", alone.folder)
    assert not list((tmp_path / "run" / "checkpoints" / "drafts").iterdir())
    for words in ("export 0/2", "fine-tune 1/1, loss", "verification", "export 2/2", "measure 2/2"):
        assert words in said.getvalue()


class Losing(Here):
    """Loses the third job of each round."""

    def map(
        self, jobs: Sequence[Job[R]], check: Check = lambda: None, hear: Hear = lambda number, words: None
    ) -> Iterator[R | Lost]:
        for number, result in enumerate(super().map(jobs, check, hear)):
            yield Lost("the machine fell") if number == 2 else result


def test_a_lost_evaluation_is_kept_with_its_reason_and_the_search_goes_on(tmp_path: Path) -> None:
    run = opened(config(tmp_path, 1), tmp_path / "run")
    run.train()
    run.__dict__["pool"] = Losing(run.context)
    run.search()
    found = trials(run.folder)
    lost = [trial for trial in found if trial.state == "crashed"]
    assert len(found) == 12 and lost[0].number == 2 and {trial.reason for trial in lost} == {"the machine fell"}
    assert "error" not in lost[0].values and lost[0].values["macs"] > 0
    with run.open_archive() as archive:
        assert not {trial.number for trial in archive.front(run.problem)} & {trial.number for trial in lost}
    run.write_resolved()
    (run.folder / "front.json").write_text("[]", encoding="utf-8")
    assert write_report(run.folder).exists()


@pytest.mark.slow
@pytest.mark.parametrize(("trials_before", "seconds"), [(1, 0.0), (7, 0.01)])
def test_killed_with_workers_it_resumes_with_any_number_of_them(
    alone: Run, tmp_path: Path, trials_before: int, seconds: float
) -> None:
    folder = tmp_path / "run"
    kill_when(config(tmp_path, 2), folder, trials_before, seconds)
    run = opened(config(tmp_path, 1), folder)
    run.train()
    run.search()
    assert trials(folder) == trials(alone.folder)


@pytest.mark.slow
def test_killed_while_it_exports_it_repeats_only_what_is_missing(alone: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    command = [sys.executable, "-c", EXECUTE, str(config(tmp_path, 1)), str(folder)]
    drafts = folder / "checkpoints" / "drafts"
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while process.poll() is None and not list(drafts.glob("[0-9a-f]*/MANIFEST.json")):
        time.sleep(0.01)
    process.kill()
    process.wait()
    (kept,) = drafts.glob("[0-9a-f]*/model.safetensors")
    inode = kept.stat().st_ino
    run = opened(config(tmp_path, 2), folder)
    run.execute()
    assert_same(folder, alone.folder)
    assert (folder / "exports" / kept.parent.name / kept.name).stat().st_ino == inode


@pytest.mark.slow
def test_the_first_interruption_lets_workers_finish_and_the_run_can_be_resumed(tmp_path: Path) -> None:
    text = MODELS.replace("evaluations: 12", "evaluations: 60")
    config(tmp_path, 2, text)
    words = [*COMMAND, "search", "tiny.yaml", "--name", "mine"]
    process = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True)
    archive = tmp_path / "runs" / "mine" / "archive.sqlite"
    while process.poll() is None and not (archive.exists() and rows(archive)):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate()
    assert process.returncode == 130 and "finishing the current step" in told and "--resume --name mine" in told
    before = trials(archive.parent)
    assert 1 <= len(before) < 60
    run = opened(config(tmp_path, 1, text), archive.parent)
    run.train()
    run.search()
    after = trials(archive.parent)
    assert len(after) == 60 and [trial.genes for trial in after][: len(before)] == [trial.genes for trial in before]
    uninterrupted = opened(config(tmp_path, 0, text), tmp_path / "other")
    uninterrupted.train()
    uninterrupted.search()
    assert trials(uninterrupted.folder) == after
