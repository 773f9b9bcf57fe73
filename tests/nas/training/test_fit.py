"""Training: the schedule, the sandwich rule, and resuming to the very same weights."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from nas.data.digits import Digits
from nas.progress import LineProgress
from nas.tasks._loaded import LoadedTask
from nas.tasks.classification import Classification
from nas.training._fit import Fit
from nas.training._role import CheckpointError, Trainee, Training
from nas.training._schedule import schedule
from nas.training.sandwich import Sandwich
from searchspaces.networks._role import Signature
from searchspaces.placements import Placements
from searchspaces.space import SearchSpace
from searchspaces.supernet import Supernet
from tests.searchspaces.spaces import METAFORMER, space

QUIET = LineProgress(io.StringIO())
SETTINGS = Sandwich(epochs=3, batch_size=256, random=1, learning_rate=3e-3)


@pytest.fixture(scope="module")
def task() -> LoadedTask:
    return Classification(data=Digits()).load()


@pytest.fixture(scope="module")
def placements(task: LoadedTask) -> Placements:
    return Placements(space(METAFORMER, Signature(*task.signature())))


@pytest.fixture
def trainee(task: LoadedTask, placements: Placements) -> Callable[[], Trainee]:
    def fresh() -> Trainee:
        torch.manual_seed(1)
        return Trainee(Supernet(placements), placements, task)

    return fresh


def weights(trained: Trainee) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in trained.supernet.named_parameters()}


def test_schedule_warms_up_and_falls_to_zero() -> None:
    assert schedule(0.05, 0.1) == 0.5
    assert schedule(0.1, 0.1) == 1.0
    assert schedule(0.55, 0.1) == pytest.approx(0.5)
    assert schedule(1.0, 0.1) == pytest.approx(0.0)
    assert schedule(0.5, 0.0) == pytest.approx(0.5 * (1 + math.cos(math.pi / 2)))


class Stopped(Exception):
    pass


@pytest.mark.parametrize("epochs_before", [1, 2])
def test_resumed_training_ends_with_the_same_weights(
    trainee: Callable[[], Trainee], tmp_path: Path, epochs_before: int
) -> None:
    whole = trainee()
    Fit(SETTINGS, whole, 5).run(QUIET)
    calls = iter(range(1, 10))

    def stop() -> None:
        if next(calls) == epochs_before:
            raise Stopped

    checkpoint = tmp_path / "checkpoint.safetensors"
    with pytest.raises(Stopped):
        Fit(SETTINGS, trainee(), 5, checkpoint).run(QUIET, check=stop)
    resumed = trainee()
    fit = Fit(SETTINGS, resumed, 5, checkpoint)
    assert len(fit.history) == epochs_before and not fit.done
    fit.run(QUIET)
    expected = weights(whole)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(resumed).items())


def test_another_seed_trains_other_weights(trainee: Callable[[], Trainee]) -> None:
    settings = SETTINGS.model_copy(update={"epochs": 1})
    first, second = trainee(), trainee()
    Fit(settings, first, 0).run(QUIET)
    Fit(settings, second, 1).run(QUIET)
    assert any(not torch.equal(tensor, weights(second)[name]) for name, tensor in weights(first).items())


def test_a_finished_checkpoint_is_not_trained_again(trainee: Callable[[], Trainee], tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.safetensors"
    settings = SETTINGS.model_copy(update={"epochs": 1})
    Fit(settings, trainee(), 0, checkpoint).run(QUIET)
    before = checkpoint.read_bytes()
    again = Fit(settings, trainee(), 0, checkpoint)
    again.run(QUIET)
    assert again.done and checkpoint.read_bytes() == before


def test_damaged_and_foreign_checkpoints_are_refused(
    trainee: Callable[[], Trainee], task: LoadedTask, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "checkpoint.safetensors"
    Fit(SETTINGS.model_copy(update={"epochs": 1}), trainee(), 0, checkpoint).run(QUIET)
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="cannot be read"):
        Fit(SETTINGS, trainee(), 0, checkpoint)
    checkpoint.write_bytes(content)
    one = SearchSpace((1, 8, 8), trainee().extremes[0].layers)
    with pytest.raises(CheckpointError, match="another search space"):
        Fit(SETTINGS, Trainee(Supernet(Placements(one)), Placements(one), task), 0, checkpoint)


def losses(training: Training, trained: Trainee, seed: int = 0) -> list[float]:
    batch = next(trained.task.train_batches(0, 0, 64))
    return [loss.item() for loss in training.losses(trained, batch, np.random.default_rng(seed))]


def test_the_sandwich_is_largest_smallest_and_random(trainee: Callable[[], Trainee]) -> None:
    trained = trainee()
    batch = next(trained.task.train_batches(0, 0, 64))
    smallest, largest = trained.extremes
    logits = trained.subnet(largest)(batch[0])
    found = losses(SETTINGS.model_copy(update={"random": 3}), trained)
    assert len(found) == 5
    assert found[0] == pytest.approx(trained.task.loss(logits, batch[1]).item(), rel=1e-6)
    student = trained.subnet(smallest)(batch[0])
    assert found[1] == pytest.approx(trained.task.distillation_loss(student, logits).item(), rel=1e-6)


def test_no_gradient_of_a_student_reaches_the_teacher(trainee: Callable[[], Trainee]) -> None:
    trained = trainee()
    batch = next(trained.task.train_batches(0, 0, 64))
    produced = trained_losses = SETTINGS.losses(trained, batch, np.random.default_rng(0))
    next(produced).backward()
    trained.supernet.zero_grad()
    next(trained_losses).backward()
    smallest, _ = trained.extremes
    alone = trained.supernet.subnet(smallest)
    used = {id(parameter) for parameter in trained.supernet.parameters() if parameter.grad is not None}
    reached = sum(parameter.numel() for parameter in trained.supernet.parameters() if id(parameter) in used)
    assert 0 < len(used) < len(list(trained.supernet.parameters()))
    assert reached >= sum(tensor.numel() for i in range(len(smallest.blocks())) for tensor in alone.weights(i).values())


def test_a_space_of_one_is_trained_plainly(trainee: Callable[[], Trainee], task: LoadedTask) -> None:
    architecture = trainee().extremes[0]
    one = SearchSpace((1, 8, 8), architecture.layers)
    trained = Trainee(Supernet(Placements(one)), Placements(one), task)
    assert len(losses(SETTINGS, trained)) == 1
    fit = Fit(SETTINGS.model_copy(update={"epochs": 4}), trained, 0)
    fit.run(QUIET)
    assert fit.history[-1] < fit.history[0]
