"""What holds for every schedule that the folder offers."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor

from nas.data.digits import Digits
from nas.progress import LineProgress
from nas.tasks._loaded import LoadedTask
from nas.tasks.classification import Classification
from nas.training._fit import Fit
from nas.training._role import Trainee, Training
from searchspaces import registry
from searchspaces.architecture import Architecture
from searchspaces.networks._role import Signature
from searchspaces.parse import parse
from searchspaces.placements import Placements
from searchspaces.space import SearchSpace
from searchspaces.supernet import Subnet, Supernet
from tests.searchspaces.spaces import choice, space

KINDS = registry.kinds(Training)
EVERY = pytest.mark.parametrize("kind", KINDS)
QUIET = LineProgress(io.StringIO())
EPOCHS = 6
NETWORK = {
    "kind": "metaformer",
    "stem": {"patch": 2, "width": choice(6, 8)},
    "stages": [
        {
            "depth": choice(1, 2),
            "block": {
                "mixer": choice({"kind": "depthwise", "kernel": choice(3, 5)}, {"kind": "pooling"}),
                "channel_mixer": {"kind": "mlp", "ratio": choice(1.0, 2.0, 3.0)},
            },
        }
    ],
}


@pytest.fixture(scope="module")
def task() -> LoadedTask:
    return Classification(data=Digits()).load()


@pytest.fixture(scope="module")
def placements(task: LoadedTask) -> Placements:
    return Placements(space(NETWORK, Signature(*task.signature())))


@pytest.fixture
def fresh(task: LoadedTask, placements: Placements) -> Callable[[], Trainee]:
    def made() -> Trainee:
        torch.manual_seed(1)
        return Trainee(Supernet(placements), placements, task)

    return made


def make(kind: str, **settings: float) -> Training:
    return parse(Training, {"kind": kind, "epochs": EPOCHS, "batch_size": 256, "learning_rate": 1e-2, **settings})


def weights(trained: Trainee) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in trained.supernet.named_parameters()}


def equal(one: Trainee, other: Trainee) -> bool:
    first, second = weights(one), weights(other)
    return all(torch.equal(first[name], second[name]) for name in first)


class Stopped(Exception):
    pass


def run_until(fit: Fit, epochs: int) -> None:
    def check() -> None:
        if len(fit.history) == epochs:
            raise Stopped

    with pytest.raises(Stopped):
        fit.run(QUIET, check=check)


@contextmanager
def noting() -> Iterator[list[Subnet]]:
    """Sub-networks of the trained weights that are asked for while gradients are recorded."""
    found: list[Subnet] = []
    original = Supernet.subnet

    def subnet(self: Supernet, architecture: Architecture) -> Subnet:
        made = original(self, architecture)
        if torch.is_grad_enabled():
            found.append(made)
        return made

    with mock.patch.object(Supernet, "subnet", subnet):
        yield found


def test_the_folder_offers_the_published_schedules() -> None:
    assert {"sandwich", "single_path", "fair", "sorted", "nested", "attentive", "progressive_shrinking"} <= set(KINDS)


@EVERY
def test_a_training_is_a_function_of_its_seed(kind: str, fresh: Callable[[], Trainee]) -> None:
    trained = [fresh() for _ in range(3)]
    for trainee, seed in zip(trained, (3, 3, 4), strict=True):
        torch.manual_seed(len(trained))
        run_until(Fit(make(kind), trainee, seed), 1)
        torch.rand(1)
    assert equal(trained[0], trained[1]) and not equal(trained[0], trained[2])


@EVERY
def test_a_training_leaves_the_state_of_chance_alone(kind: str, fresh: Callable[[], Trainee]) -> None:
    trainee = fresh()
    before = torch.random.get_rng_state()
    run_until(Fit(make(kind), trainee, 0), 1)
    assert torch.equal(torch.random.get_rng_state(), before)


@EVERY
def test_a_training_resumed_anywhere_ends_with_the_same_weights(
    kind: str, fresh: Callable[[], Trainee], tmp_path: Path
) -> None:
    whole = fresh()
    Fit(make(kind, batch_size=512), whole, 5).run(QUIET)
    cut, checkpoint = None, tmp_path / "checkpoint.safetensors"
    for epochs in (1, 3):
        cut = fresh()
        run_until(Fit(make(kind, batch_size=512), cut, 5, checkpoint), epochs)
    last = fresh()
    Fit(make(kind, batch_size=512), last, 5, checkpoint).run(QUIET)
    assert not equal(fresh(), whole) and equal(last, whole)
    assert Fit(make(kind, batch_size=512), fresh(), 5, checkpoint).done


@pytest.mark.slow
@EVERY
def test_it_trains_architectures_of_the_space_and_the_largest_learns(kind: str, fresh: Callable[[], Trainee]) -> None:
    trainee = fresh()
    before = loss_of_largest(trainee)
    with noting() as found:
        Fit(make(kind, batch_size=128), trainee, 0).run(QUIET)
    rows = {tuple(trainee.placements.space.encode(subnet.architecture).tolist()) for subnet in found}
    assert len(rows) > 1
    assert loss_of_largest(trainee) < before - 0.2


def loss_of_largest(trainee: Trainee) -> float:
    """The loss of the largest network on the validation images, statistics recalibrated."""
    network = trainee.supernet.subnet(trainee.extremes[1])
    network.recalibrate([inputs for inputs, _ in trainee.task.calibration()])
    with torch.inference_mode():
        losses = [trainee.task.loss(network(inputs), targets).item() for inputs, targets in trainee.task.validation()]
    return float(np.mean(losses))


def inside(subnets: list[Subnet], trainee: Trainee) -> dict[str, Tensor]:
    """For each shared parameter, which of its elements lie in a slice of one of the sub-networks."""
    marks = trainee.supernet.frozen()
    for parameter in marks.parameters():
        parameter.zero_()
    for subnet in subnets:
        marked = Subnet(marks, subnet.architecture)
        for index in range(len(subnet.architecture.blocks())):
            for tensor in marked.weights(index).values():
                tensor.fill_(1)
    return {name: parameter.bool() for name, parameter in marks.named_parameters()}


@EVERY
@pytest.mark.parametrize("epoch", [0, 2, EPOCHS - 1])
def test_gradients_are_nought_outside_the_slices(kind: str, epoch: int, fresh: Callable[[], Trainee]) -> None:
    trainee, training = fresh(), make(kind)
    batch = next(trainee.task.train_batches(0, 0, 64))
    fit = Fit(training, trainee, 0)
    for before in range(epoch + 1):
        trainee.epoch = before
        training.begin(trainee, before)
    with noting() as found:
        fit._backward(batch, np.random.default_rng(0))
    where = inside(found, trainee)
    for name, parameter in trainee.supernet.named_parameters():
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        assert not gradient[~where[name]].any(), name
    assert any(parameter.grad is not None for parameter in trainee.supernet.parameters())


@EVERY
def test_weights_outside_the_slices_stay(kind: str, fresh: Callable[[], Trainee]) -> None:
    trainee = fresh()
    before = weights(trainee)
    with noting() as found:
        run_until(Fit(make(kind, weight_decay=0.0), trainee, 0), 1)
    where = inside(found, trainee)
    for name, after in weights(trainee).items():
        assert torch.equal(after[~where[name]], before[name][~where[name]]), name
    assert any(bool((after != before[name]).any()) for name, after in weights(trainee).items())


@EVERY
def test_a_space_of_one_is_trained_plainly(kind: str, fresh: Callable[[], Trainee]) -> None:
    architecture = fresh().extremes[1]
    placements = Placements(SearchSpace(architecture.input_shape, architecture.layers))
    torch.manual_seed(1)
    trainee = Trainee(Supernet(placements), placements, fresh().task)
    with noting() as found:
        run_until(Fit(make(kind), trainee, 0), 1)
    assert {subnet.architecture.id for subnet in found} == {architecture.id}
