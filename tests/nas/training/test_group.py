"""Training in several processes: equal to one, ended by a death, resumed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from nas.archive import Archive
from nas.training._group import Group, GroupError
from tests.nas.experiments import TINY, written
from tests.nas.test_commands import nas

ROOT = Path(__file__).parents[3]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
LONG = TINY.replace("epochs: 2", "epochs: 30")


def torchrun(processes: int, *words: object) -> list[str]:
    launch = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
    return [sys.executable, "-m", *launch, *map(str, words)]


def together(file: Path, policy: str, processes: int) -> dict[str, torch.Tensor]:
    """The weights and losses of so many processes."""
    words = ["tests.nas.training.together", file, policy]
    command = torchrun(processes, *words) if processes > 1 else [sys.executable, "-m", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return load_file(file)


@pytest.mark.parametrize("rank", [0, 1])
def test_shares_are_equal_parts_in_order(rank: int) -> None:
    inputs, targets = Group(rank, 2).share((torch.arange(12.0).view(6, 2), torch.arange(6)))
    assert targets.tolist() == [[0, 1, 2], [3, 4, 5]][rank]
    assert torch.equal(inputs, torch.arange(12.0).view(6, 2)[targets])


def test_a_batch_that_cannot_be_shared_evenly_is_refused() -> None:
    with pytest.raises(GroupError, match="batch_size to a multiple of 4"):
        Group(0, 4).share((torch.zeros(6, 1), torch.zeros(6)))


@pytest.mark.slow
def test_two_processes_train_the_weights_of_one(tmp_path: Path) -> None:
    alone, both = together(tmp_path / "alone", "none", 1), together(tmp_path / "both", "none", 2)
    assert alone.keys() == both.keys() and len(alone) > 20
    for name, weight in alone.items():
        assert weight.dtype == torch.float64
        torch.testing.assert_close(both[name], weight, rtol=0, atol=1e-7)


@pytest.mark.slow
def test_two_processes_observe_the_ranges_of_one(tmp_path: Path) -> None:
    alone, both = together(tmp_path / "alone", "integer", 1), together(tmp_path / "both", "integer", 2)
    assert both["losses"][0].item() == pytest.approx(alone["losses"][0].item(), rel=1e-12, abs=0)
    differences = torch.cat([(both[name] - weight).abs().flatten() for name, weight in alone.items()])
    assert differences.median() < 1e-9 and (differences > 1e-7).double().mean() < 0.02


def workers(process: subprocess.Popen[str]) -> Sequence[psutil.Process]:
    """The training processes that torchrun has started."""
    found = psutil.Process(process.pid).children()
    return [child for child in found if "nas" in child.cmdline()]


@pytest.mark.exhaustive
def test_a_process_that_dies_ends_all_with_a_message_and_the_run_is_resumed(tmp_path: Path) -> None:
    written(tmp_path, LONG)
    train = torchrun(2, "nas", "train", "tiny.yaml", "--name", "mine")
    checkpoint = tmp_path / "runs" / "mine" / "checkpoints" / "supernet.safetensors"
    process = subprocess.Popen(train, cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not checkpoint.exists():
        time.sleep(0.01)
    os.kill(workers(process)[1].pid, signal.SIGKILL)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 1 and "another training process was lost" in told and "--resume" in told
    resumed = subprocess.run([*train, "--resume"], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert resumed.returncode == 0 and resumed.stderr.count("train 30/30") == 1, resumed.stderr
    done = nas(tmp_path, "search", "tiny.yaml", "--name", "mine", "--resume")
    assert done.returncode == 0 and "train" not in done.stderr.split(), done.stderr
    with Archive.open(tmp_path / "runs" / "mine" / "archive.sqlite", None) as archive:
        assert len(archive) == 12
