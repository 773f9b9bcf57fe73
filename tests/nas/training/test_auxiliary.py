"""Losses that modules have of their own reach every training, and leave nothing behind."""

from __future__ import annotations

import io
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nas.data.digits import Digits
from nas.progress import LineProgress
from nas.tasks._loaded import LoadedTask, TensorBatch
from nas.tasks.classification import Classification
from nas.training._fit import Fit
from nas.training._role import Trainee, Training
from nas.training.sandwich import Sandwich
from searchspaces.networks._role import Signature
from searchspaces.placements import Placements
from searchspaces.skeleton import Auxiliary, skeleton
from searchspaces.supernet import Supernet
from tests.searchspaces.spaces import space

QUIET = LineProgress(io.StringIO())
KINDS: list[dict[str, Any]] = [
    {"kind": "block_ffn", "experts": 4, "chunk": 8},
    {"kind": "shared_experts", "experts": 4},
    {"kind": "fast_feedforward"},
]
SILENT: list[dict[str, Any]] = [
    {"kind": "block_ffn", "locality": 0.0, "sparsification": 0.0},
    {"kind": "shared_experts", "balance": 0.0},
    {"kind": "fast_feedforward", "hardening": 0.0},
    {"kind": "mlp"},
]


@pytest.fixture(scope="module")
def task() -> LoadedTask:
    return Classification(data=Digits()).load()


def trainee(task: LoadedTask, channel_mixer: dict[str, Any]) -> Trainee:
    block = {"mixer": {"kind": "pooling"}, "channel_mixer": channel_mixer}
    stages = [{"depth": 2, "width": 12, "block": block}]
    network = {"kind": "metaformer", "stem": {"patch": 2, "width": 12}, "stages": stages}
    torch.manual_seed(1)
    placements = Placements(space(network, Signature(*task.signature())))
    return Trainee(Supernet(placements), placements, task)


def batch(task: LoadedTask) -> TensorBatch:
    return next(task.train_batches(0, 0, 64))


def by_hand(trained: Trainee, inputs: Tensor) -> Tensor:
    """The modules' own losses in the standalone network with the same weights."""
    architecture = trained.extremes[1]
    alone = architecture.build().train()
    alone.load_state_dict(trained.supernet.subnet(architecture).state())
    found: list[Tensor] = []
    for module in alone.modules():
        if isinstance(module, Auxiliary):
            module.register_forward_hook(lambda module, x, y: found.extend(module.auxiliary_losses(*x)))
    alone(inputs)
    return torch.stack(found).sum()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind["kind"])
def test_every_place_adds_its_own_loss(task: LoadedTask, kind: dict[str, Any]) -> None:
    trained = trainee(task, kind)
    inputs, _ = batch(task)
    with trained.supernet.collecting() as losses:
        trained.subnet(trained.extremes[1])(inputs)
        assert len(losses) == (4 if kind["kind"] == "block_ffn" else 2)
        torch.testing.assert_close(torch.stack(losses).sum(), by_hand(trained, inputs), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", SILENT, ids=lambda kind: kind["kind"])
def test_there_is_none_where_weights_are_zero(task: LoadedTask, kind: dict[str, Any]) -> None:
    trained = trainee(task, kind)
    with trained.supernet.collecting() as losses:
        trained.subnet(trained.extremes[1])(batch(task)[0])
        assert not losses


def test_only_passes_that_train_add_losses(task: LoadedTask) -> None:
    trained = trainee(task, KINDS[0])
    subnet, (inputs, _) = trained.subnet(trained.extremes[1]), batch(task)
    with trained.supernet.collecting() as losses:
        subnet.eval()(inputs)
        subnet.recalibrate([inputs])
        assert not losses
    subnet.train()(inputs)
    assert not losses and trained.supernet.losses is None


SEEN: list[weakref.ref[Tensor]] = []


class Twice(Training):
    """Two passes of the largest network in a step, as a training that knows of no losses but the task's."""

    def losses(self, trainee: Trainee, batch: TensorBatch, rng: np.random.Generator) -> Iterator[Tensor]:
        inputs, targets = batch
        for _ in range(2):
            loss = trainee.task.loss(trainee.subnet(trainee.extremes[1])(inputs), targets)
            SEEN.extend(weakref.ref(found) for found in trainee.supernet.losses or [])
            yield loss


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind["kind"])
def test_a_step_has_the_gradients_of_both_losses_and_leaves_nothing(task: LoadedTask, kind: dict[str, Any]) -> None:
    trained, SEEN[:] = trainee(task, kind), []
    inputs, targets = batch(task)
    loss = Fit(Twice(epochs=1), trained, 0)._backward((inputs, targets), np.random.default_rng(0))
    found = {name: parameter.grad for name, parameter in trained.supernet.named_parameters()}
    trained.supernet.zero_grad()
    with trained.supernet.collecting() as losses:
        expected = trained.task.loss(trained.subnet(trained.extremes[1])(inputs), targets)
        (2 * (expected + by_losses(losses))).backward()
    assert loss == pytest.approx(expected.item(), rel=1e-6)
    for name, parameter in trained.supernet.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-6)
    assert SEEN and all(reference() is None for reference in SEEN) and not losses
    for place in trained.extremes[1].blocks():
        module = skeleton(place.part, place.shape).module
        assert not any(part._forward_pre_hooks for part in module.modules())


def by_losses(losses: list[Tensor]) -> Tensor:
    return torch.stack(losses).sum()


def trained_on(task: LoadedTask, kind: dict[str, Any], epochs: int = 4) -> tuple[Trainee, Tensor]:
    """A trained network and how often each expert is used, [places experts samples positions]."""
    trained = trainee(task, kind)
    Fit(Sandwich(epochs=epochs, batch_size=128, random=0, learning_rate=1e-2), trained, 0).run(QUIET)
    architecture = trained.extremes[1]
    alone = architecture.build().train()
    alone.load_state_dict(trained.supernet.subnet(architecture).state())
    used: list[Tensor] = []
    for module in alone.modules():
        if isinstance(module, Auxiliary):
            module.register_forward_hook(lambda module, x, y: used.append(y.ne(0).float().movedim(1, 0).flatten(2)))
    with torch.no_grad():
        alone(batch(task)[0])
    return trained, torch.stack(used)


def test_training_makes_experts_sparse(task: LoadedTask) -> None:
    plain = {"kind": "block_ffn", "experts": 8, "chunk": 8}
    _, loose = trained_on(task, {**plain, "locality": 0.0, "sparsification": 0.0})
    _, sparse = trained_on(task, {**plain, "sparsification": 2.0})
    assert sparse.mean() < 0.75 * loose.mean()
    assert in_chunks(sparse) < 0.75 * in_chunks(loose)


def in_chunks(used: Tensor) -> Tensor:
    """The share of experts that some position of a chunk uses."""
    return used.unflatten(-1, (-1, 8)).amax(-1).mean()


def test_training_balances_experts(task: LoadedTask) -> None:
    def unevenness(balance: float) -> float:
        _, used = trained_on(task, {"kind": "shared_experts", "experts": 8, "balance": balance}, epochs=2)
        return used.mean((2, 3)).std(1).mean().item()

    assert unevenness(0.3) < 0.6 * unevenness(0.0)


def test_training_hardens_decisions(task: LoadedTask) -> None:
    def entropy(hardening: float) -> float:
        trained, _ = trained_on(task, {"kind": "fast_feedforward", "hardening": hardening})
        return by_hand(trained, batch(task)[0]).item() / hardening

    assert entropy(1.0) < 0.8 * entropy(1e-9)
