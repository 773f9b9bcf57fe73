"""Whole searches by command: interrupted, resumed, refused, exported from."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from nas.archive import Archive
from tests.nas.experiments import TINY, written

LONG = TINY.replace("epochs: 2", "epochs: 40").replace("models: 2", "models: 1")
COMMAND = [sys.executable, "-c", "import sys; sys.argv[0] = 'nas'; from nas.cli import main; main()"]


def nas(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A command, run in a process of its own in a folder."""
    words = [*COMMAND, *map(str, arguments)]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a configuration and a finished run `whole`."""
    folder = tmp_path_factory.mktemp("searched")
    written(folder)
    done = nas(folder, "search", "tiny.yaml", "--name", "whole", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((folder / "runs/whole/front.json").read_text())
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.exhaustive)]
)
def test_a_signal_ends_at_a_checkpoint_and_the_run_can_be_resumed(tmp_path: Path, number: int, code: int) -> None:
    written(tmp_path, LONG)
    words = [*COMMAND, "search", "tiny.yaml", "--name", "mine"]
    process = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("train"):
            break
    os.kill(process.pid, number)
    _, told = process.communicate()
    assert process.returncode == code and "finishing the current step" in told and "--resume --name mine" in told
    assert (tmp_path / "runs/mine/checkpoints/supernet.safetensors").exists()
    resumed = nas(tmp_path, "search", "tiny.yaml", "--name", "mine", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "Pareto front" in resumed.stdout and (tmp_path / "runs/mine/report.html").exists()


@pytest.mark.slow
def test_resume_refuses_a_changed_configuration_with_code_4(searched: Path) -> None:
    done = nas(searched, "search", "tiny.yaml", "--name", "whole", "--resume", "--set", "seed=1")
    assert done.returncode == 4 and "seed: 0 before, 1 now" in done.stderr
    assert "Traceback" not in done.stderr
    assert nas(searched, "search", "tiny.yaml", "--name", "whole", "--resume").returncode == 0


@pytest.mark.slow
def test_a_damaged_archive_and_checkpoint_end_with_code_1_and_a_mend(searched: Path, tmp_path: Path) -> None:
    subprocess.run(["cp", "-r", searched, tmp_path / "copy"], check=True)
    run = tmp_path / "copy" / "runs" / "whole"
    (run / "checkpoints" / "supernet.safetensors").write_bytes(b"nonsense")
    done = nas(tmp_path / "copy", "search", "tiny.yaml", "--name", "whole", "--resume")
    assert done.returncode == 1 and "delete it to train again" in done.stderr and "Traceback" not in done.stderr
    (run / "archive.sqlite").write_bytes(b"nonsense" * 1000)
    done = nas(tmp_path / "copy", "search", "tiny.yaml", "--name", "whole", "--resume")
    assert done.returncode == 1 and "archive.sqlite" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_any_evaluated_architecture_can_be_exported_in_chosen_formats(searched: Path) -> None:
    with Archive.open(searched / "runs/whole/archive.sqlite", None) as archive:
        exported = {path.name for path in (searched / "runs/whole/exports").iterdir()}
        other = next(trial for trial in archive.trials() if trial.architecture_id not in exported)
    words = ("export", "runs/whole", "--architecture", other.architecture_id, "--format", "onnx", "--to", "out")
    done = nas(searched, *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "out" and (searched / "out" / "model.onnx").exists()
    assert not (searched / "out" / "model.pt2").exists()
    unknown = nas(searched, "export", "runs/whole", "--architecture", "0000")
    assert unknown.returncode == 2 and "holds no architecture 0000" in unknown.stderr
    nowhere = nas(searched, "export", "runs/none", "--architecture", "0000")
    assert nowhere.returncode == 2 and "is runs/none the folder of a run?" in nowhere.stderr


@pytest.mark.slow
def test_a_second_run_measures_nothing_and_finds_the_same(searched: Path) -> None:
    done = nas(searched, "search", "tiny.yaml", "--name", "again", "--json")
    first = json.loads((searched / "runs/whole/front.json").read_text())
    second = json.loads(done.stdout)
    assert [entry["id"] for entry in second] == [entry["id"] for entry in first]
    assert [entry["values"] for entry in second] == [entry["values"] for entry in first]
    rows = [
        sqlite3.connect(searched / "runs" / name / "archive.sqlite").execute("SELECT * FROM trials").fetchall()
        for name in ("whole", "again")
    ]
    assert rows[0] == rows[1]
