"""Progressive shrinking: what is open when, the teacher, and the sorting between phases."""

from __future__ import annotations

import io
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
from nas.training._role import Trainee, Training
from nas.training._schedule import schedule
from nas.training.progressive_shrinking import Phase, ProgressiveShrinking
from searchspaces.faults import DescriptionError
from searchspaces.networks._role import Signature
from searchspaces.parse import parse
from searchspaces.placements import Placements
from searchspaces.supernet import Supernet
from tests.nas.training.test_schedules import NETWORK
from tests.searchspaces.spaces import space

QUIET = LineProgress(io.StringIO())
PHASES = (
    Phase(share=2.0),
    Phase(opens=("kernel",)),
    Phase(opens=("depth",), options=2, networks=2),
    Phase(opens=("depth", "expansion"), networks=3, rate=0.5),
    Phase(opens=("width",)),
)
SETTINGS = ProgressiveShrinking(epochs=6, batch_size=256, phases=PHASES, learning_rate=1e-2, warmup=0.0)


@pytest.fixture(scope="module")
def task() -> LoadedTask:
    return Classification(data=Digits()).load()


def fresh(task: LoadedTask) -> Trainee:
    torch.manual_seed(1)
    placements = Placements(space(NETWORK, Signature(*task.signature())))
    return Trainee(Supernet(placements), placements, task)


@pytest.fixture(scope="module")
def trainee(task: LoadedTask) -> Trainee:
    return fresh(task)


def drawn(trainee: Trainee, phase: int) -> dict[str, set[object]]:
    """The options by field that a phase draws."""
    rng, space, found = np.random.default_rng(0), trainee.placements.space, {}
    for _ in range(60):
        chosen = space.describe_row(space.encode(SETTINGS.draw(trainee, phase, rng)))
        for decision in space.decisions:
            if decision.name in chosen:
                found.setdefault(decision.field, set()).add(getattr(chosen[decision.name], "kind", str)())
                if decision.ordered:
                    found[decision.field].add(chosen[decision.name])
    return {field: options - {""} for field, options in found.items()}


def test_decisions_open_one_after_the_other(trainee: Trainee) -> None:
    gates = {"none", "squeeze_excitation"}
    first = {"width": {8}, "depth": {3}, "kernel": {7}, "expansion": {4.0}, "gate": {"squeeze_excitation"}}
    second = {**first, "kernel": {3, 5, 7}, "gate": gates}
    third = {**second, "depth": {2, 3}}
    fourth = {**third, "depth": {1, 2, 3}, "expansion": {2.0, 3.0, 4.0}}
    expected = [first, second, third, fourth, {**fourth, "width": {4, 8}}]
    assert [drawn(trainee, phase) for phase in range(5)] == expected


def test_the_first_phase_draws_the_largest_network(trainee: Trainee) -> None:
    assert SETTINGS.draw(trainee, 0, np.random.default_rng(0)).id == trainee.extremes[1].id


@pytest.mark.parametrize("epochs", [5, 6, 7, 23, 100])
def test_phases_have_their_share_of_the_epochs_and_at_least_one(epochs: int) -> None:
    starts = [*SETTINGS.model_copy(update={"epochs": epochs}).starts, epochs]
    lengths = np.diff(starts)
    assert starts[0] == 0 and lengths.min() >= 1
    assert abs(lengths - np.array([2, 1, 1, 1, 1]) * (epochs - 5) / 6 - 1).max() <= 1


def test_each_phase_has_a_cosine_of_its_own() -> None:
    assert SETTINGS.starts == [0, 2, 3, 4, 5] or SETTINGS.starts == [0, 1, 2, 3, 4]
    training = SETTINGS.model_copy(update={"epochs": 12})
    for number, start in enumerate(training.starts):
        end = [*training.starts, 12][number + 1]
        for step in range(1, 5):
            within = step / 4
            expected = 1e-2 * PHASES[number].rate * schedule(within, 0.0)
            assert training.rate((start + within * (end - start)) / 12) == pytest.approx(expected, abs=1e-9)


def test_too_few_epochs_are_refused() -> None:
    with pytest.raises(DescriptionError, match="4 epochs are too few for 5 phases"):
        parse(Training, {"kind": "progressive_shrinking", "epochs": 4})
    assert ProgressiveShrinking(epochs=0).epochs == 0


def test_phases_are_read_from_data_and_written_back() -> None:
    data = {"kind": "progressive_shrinking", "phases": [{}, {"opens": ["kernel", "depth"], "networks": 2}]}
    found = parse(Training, data)
    assert isinstance(found, ProgressiveShrinking) and found.phases[1].opens == ("kernel", "depth")
    assert parse(Training, found.describe()) == found


class Stopped(Exception):
    pass


def stopped_after(fit: Fit, epochs: int) -> None:
    def check() -> None:
        if len(fit.history) == epochs:
            raise Stopped

    with pytest.raises(Stopped):
        fit.run(QUIET, check=check)


def copies(supernet: Supernet) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in supernet.parameters()]


def test_the_teacher_is_the_network_of_the_first_phase_also_after_a_resumption(
    task: LoadedTask, tmp_path: Path
) -> None:
    checkpoint, first = tmp_path / "checkpoint.safetensors", fresh(task)
    stopped_after(Fit(SETTINGS, first, 0, checkpoint), SETTINGS.starts[1])
    assert first.teacher is None
    expected = copies(first.supernet)
    for epochs in range(SETTINGS.starts[1] + 1, SETTINGS.epochs):
        resumed = fresh(task)
        stopped_after(Fit(SETTINGS, resumed, 0, checkpoint), epochs)
        assert resumed.teacher is not None
        assert all(torch.equal(a, b) for a, b in zip(copies(resumed.teacher), expected, strict=True))
        assert not any(parameter.requires_grad for parameter in resumed.teacher.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(copies(resumed.supernet), expected, strict=True))
    Fit(SETTINGS, fresh(task), 0, checkpoint).run(QUIET)
    finished = fresh(task)
    assert Fit(SETTINGS, finished, 0, checkpoint).done and finished.teacher is None


def test_sub_networks_learn_from_labels_and_teacher(task: LoadedTask) -> None:
    trainee = fresh(task)
    batch = next(task.train_batches(0, 0, 64))
    trainee.teacher, trainee.epoch = trainee.supernet.frozen(), SETTINGS.starts[3]
    phase = 3
    rng = np.random.default_rng(0)
    networks = [SETTINGS.draw(trainee, phase, rng) for _ in range(3)]
    logits = [trainee.subnet(network)(batch[0]) for network in networks]
    soft = trainee.subnet(trainee.extremes[1])(batch[0])
    expected = [task.loss(found, batch[1]) + task.distillation_loss(found, soft) for found in logits]
    losses = list(SETTINGS.losses(trainee, batch, np.random.default_rng(0)))
    assert len(losses) == 3
    torch.testing.assert_close(torch.stack(losses), torch.stack(expected))


def test_channels_are_sorted_when_their_number_begins_to_vary(task: LoadedTask) -> None:
    trainee = fresh(task)
    inputs = next(iter(task.calibration()))[0]
    for epoch in range(SETTINGS.epochs):
        before = copies(trainee.supernet)
        output = trainee.subnet(trainee.extremes[1])(inputs)
        begins = SETTINGS.begin(trainee, epoch)
        moved = any(not torch.equal(a, b) for a, b in zip(copies(trainee.supernet), before, strict=True))
        assert begins == (epoch in SETTINGS.starts[1:]) and moved == (epoch == SETTINGS.starts[3])
        torch.testing.assert_close(trainee.subnet(trainee.extremes[1])(inputs), output, rtol=1e-5, atol=1e-5)
