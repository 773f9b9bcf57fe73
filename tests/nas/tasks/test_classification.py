"""Laws of classification: losses against their formulas, batches as functions of seed and epoch."""

from __future__ import annotations

import math
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from nas.data._augmentation import Augmentation
from nas.data._role import Dataset
from nas.data.digits import Digits
from nas.data.glyphs import Glyphs
from nas.data.npz import Npz
from nas.tasks._loaded_classification import LoadedClassification
from nas.tasks._role import Task
from nas.tasks.classification import Classification
from searchspaces.registry import kinds, resolve

GENERATOR = torch.Generator().manual_seed(0)
STUDENT = torch.randn(6, 10, generator=GENERATOR, dtype=torch.float64)
TEACHER = torch.randn(6, 10, generator=GENERATOR, dtype=torch.float64)
TARGETS = torch.tensor([0, 3, 9, 9, 1, 4])


@pytest.fixture(scope="module")
def task() -> LoadedClassification:
    return Classification(data=Digits(), label_smoothing=0.2).load()


def epoch(task: LoadedClassification, seed: int, number: int, batch_size: int = 100) -> tuple[Tensor, Tensor]:
    inputs, targets = zip(*task.train_batches(seed, number, batch_size), strict=True)
    return torch.cat(inputs), torch.cat(targets)


def test_the_kind_is_found_and_the_part_describes_itself() -> None:
    assert "classification" in kinds(Task)
    assert resolve(Task, "classification") is Classification
    description = Classification(data=Digits()).describe()
    assert description["kind"] == "classification" and description["data"]["kind"] == "digits"


def test_equal_tasks_load_once_and_share_their_data() -> None:
    first = Classification(data=Digits()).load()
    assert Classification(data=Digits()).load() is first
    other = Classification(data=Digits(), label_smoothing=0.0).load()
    assert other is not first and other.splits is first.splits
    assert Classification(data=Digits(seed=3)).load().splits is not first.splits


def test_data_must_be_a_dataset() -> None:
    assert isinstance(Classification(data=Npz(file="a.npz")).data, Dataset)
    with pytest.raises(ValidationError, match="data"):
        Classification(data=Augmentation())  # type: ignore[arg-type]


def test_the_signature_is_that_of_the_network_to_build(task: LoadedClassification) -> None:
    assert task.signature() == ((1, 8, 8), 10)
    inputs, targets = next(task.train_batches(0, 0, 32))
    assert inputs.shape == (32, 1, 8, 8) and inputs.dtype == torch.float32
    assert targets.shape == (32,) and targets.dtype == torch.int64


def test_loss_is_cross_entropy_with_smoothed_labels(task: LoadedClassification) -> None:
    smoothed = torch.full((6, 10), 0.2 / 10, dtype=torch.float64)
    smoothed[torch.arange(6), TARGETS] += 0.8
    expected = -(smoothed * STUDENT.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(task.loss(STUDENT, TARGETS), expected)


def test_distillation_gradient_is_the_difference_of_probabilities(task: LoadedClassification) -> None:
    student, teacher = STUDENT.clone().requires_grad_(), TEACHER.clone().requires_grad_()
    task.distillation_loss(student, teacher).backward()
    torch.testing.assert_close(student.grad, (STUDENT.softmax(1) - TEACHER.softmax(1)) / len(STUDENT))
    assert teacher.grad is None


def test_distillation_loss_is_divergence_plus_the_teachers_entropy(task: LoadedClassification) -> None:
    probabilities = TEACHER.softmax(1)
    divergence = (probabilities * (probabilities.log() - STUDENT.log_softmax(1))).sum(1).mean()
    entropy = -(probabilities * probabilities.log()).sum(1).mean()
    torch.testing.assert_close(task.distillation_loss(STUDENT, TEACHER), divergence + entropy)
    torch.testing.assert_close(task.distillation_loss(TEACHER, TEACHER), entropy)


def test_error_is_the_fraction_of_wrong_answers(task: LoadedClassification) -> None:
    logits = torch.eye(10)[[0, 3, 9, 8, 1, 5]]
    assert task.error(logits, TARGETS) == pytest.approx(2 / 6, abs=1e-12)
    assert task.error(torch.eye(10)[TARGETS], TARGETS) == 0.0


def test_logits_that_are_not_numbers_are_wrong(task: LoadedClassification) -> None:
    assert task.error(torch.full((4, 10), math.nan), torch.zeros(4, dtype=torch.int64)) == 1.0


def test_an_epoch_is_a_function_of_seed_and_number() -> None:
    task = Classification(data=Digits(), augmentation=Augmentation(shift=1)).load()
    first, again = epoch(task, 0, 0), epoch(task, 0, 0)
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    for seed, number in ((1, 0), (0, 1)):
        assert not torch.equal(first[0], epoch(task, seed, number)[0])


def test_an_epoch_holds_each_training_image_at_most_once(task: LoadedClassification) -> None:
    inputs, _ = epoch(task, 0, 0, 100)
    count = len(task.splits.train)
    assert len(inputs) == count // 100 * 100 == task.steps(100) * 100
    assert len({image.numpy().tobytes() for image in inputs}) == len(inputs)
    assert len(epoch(task, 0, 0, 10**6)[0]) == count and task.steps(10**6) == 1


def test_over_the_epochs_every_training_image_comes(task: LoadedClassification) -> None:
    seen = {image.numpy().tobytes() for number in range(30) for image in epoch(task, 0, number, 700)[0]}
    assert len(seen) == len(task.splits.train)


def test_augmentation_changes_training_images_alone() -> None:
    plain, changed = (
        Classification(data=Digits(), augmentation=augmentation).load()
        for augmentation in (Augmentation(), Augmentation(shift=2))
    )
    assert not torch.equal(epoch(plain, 0, 0)[0], epoch(changed, 0, 0)[0])
    assert torch.equal(epoch(plain, 0, 0)[1], epoch(changed, 0, 0)[1])
    for split in ("validation", "calibration", "test"):
        pairs = zip(getattr(plain, split)(), getattr(changed, split)(), strict=True)
        assert all(torch.equal(first[0], second[0]) for first, second in pairs)


@pytest.mark.parametrize("split", ["validation", "calibration", "test"])
def test_splits_come_whole_and_in_order_whatever_the_batch_size(task: LoadedClassification, split: str) -> None:
    images = getattr(task.splits, split)
    for batch_size in (1000, 33):
        inputs, targets = zip(*getattr(task, split)(batch_size), strict=True)
        np.testing.assert_array_equal(torch.cat(inputs).numpy(), images.inputs)
        np.testing.assert_array_equal(torch.cat(targets).numpy(), images.targets)


def test_what_learns_and_what_judges_share_no_image(task: LoadedClassification) -> None:
    splits = (task.splits.train, task.splits.validation, task.splits.test)
    images = [{image.tobytes() for image in split.pixels} for split in splits]
    assert all(not first & second for first, second in (*pairwise(images), (images[0], images[2])))


def test_a_linear_network_learns_the_easy_glyphs() -> None:
    data = Glyphs(classes=4, size=12, samples_per_class=60, distortion=0.1, clutter=0, noise=0.0, contrast=1.0, seed=1)
    task = Classification(data=data).load()
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, 64), torch.nn.ReLU(), torch.nn.Linear(64, 4))
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for number in range(25):
        for inputs, targets in task.train_batches(0, number, 16):
            optimizer.zero_grad()
            task.loss(network(inputs), targets).backward()
            optimizer.step()
    inputs, targets = next(iter(task.validation(10_000)))
    assert task.error(network(inputs), targets) < 0.2


@pytest.mark.parametrize("module", ["nas.tasks.classification", "nas.data.glyphs", "nas.data.digits", "nas.data.npz"])
def test_describing_a_task_needs_no_heavy_library(module: str) -> None:
    code = f"import sys, {module}; print(sorted(sys.modules.keys() & {{'torch', 'sklearn', 'matplotlib'}}))"
    root = Path(__file__).parents[3]
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )
