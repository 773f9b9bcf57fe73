"""Training tells blocks how far it is: in every step, after a resumption, and not where it only tunes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from nas.data.digits import Digits
from nas.progress import LineProgress
from nas.tasks._loaded import LoadedTask, TensorBatch
from nas.tasks.classification import Classification
from nas.training._fit import Fit
from nas.training._role import Trainee
from nas.training.sandwich import Sandwich
from searchspaces.architecture import Architecture
from searchspaces.blocks._progressive_norm import ProgressiveNorm
from searchspaces.fused import fused
from searchspaces.networks._role import Signature
from searchspaces.placements import Placements
from searchspaces.supernet import Subnet, Supernet
from tests.searchspaces.spaces import choice, space

QUIET = LineProgress(io.StringIO())
NETWORK = {
    "kind": "metaformer",
    "stem": {"patch": 2, "width": 6},
    "stages": [
        {
            "depth": choice(1, 2),
            "width": choice(6, 8),
            "block": {
                "mixer": {"kind": "depthwise", "kernel": choice(3, 5)},
                "channel_mixer": {"kind": "mlp", "ratio": 2.0},
                "norm": "progressive",
                "shortcut": choice("identity", "augmented"),
            },
        }
    ],
}


class Noting(Sandwich):
    """The sandwich, which notes the share of layer normalization in every network that it trains."""

    def losses(self, trainee: Trainee, batch: TensorBatch, rng: np.random.Generator) -> Iterator[Tensor]:
        NOTED.append([shares(trainee.subnet(architecture)) for architecture in trainee.extremes])
        yield from super().losses(trainee, batch, rng)


NOTED: list[list[set[float]]] = []
SETTINGS = Noting(epochs=3, batch_size=256, random=1)


def shares(subnet: Subnet) -> set[float]:
    return {round(buffer.item(), 6) for name, buffer in subnet.named_buffers() if name.endswith("layer_share")}


@pytest.fixture(scope="module")
def task() -> LoadedTask:
    return Classification(data=Digits()).load()


def fresh(task: LoadedTask) -> Trainee:
    torch.manual_seed(1)
    placements = Placements(space(NETWORK, Signature(*task.signature())))
    return Trainee(Supernet(placements), placements, task)


@pytest.fixture(scope="module")
def whole(task: LoadedTask) -> tuple[Trainee, list[list[set[float]]]]:
    """A trainee after all epochs, and what was noted."""
    NOTED.clear()
    trainee = fresh(task)
    Fit(SETTINGS, trainee, 5).run(QUIET)
    return trainee, list(NOTED)


def test_the_share_falls_linearly_to_zero_with_the_last_step(
    task: LoadedTask, whole: tuple[Trainee, list[list[set[float]]]]
) -> None:
    steps = 3 * task.steps(256)
    assert len(whole[1]) == steps
    for step, noted in enumerate(whole[1]):
        assert noted == [{round(1 - (step + 1) / steps, 6)}] * 2
    assert whole[0].supernet.progress == 1.0


def test_layer_normalization_is_trained_and_then_left_behind(
    task: LoadedTask, whole: tuple[Trainee, list[list[set[float]]]]
) -> None:
    before, after = fresh(task).supernet, whole[0].supernet
    layers = [name for name, _ in after.named_parameters() if "layer:GroupNorm" in name]
    assert layers and all(not torch.equal(before.get_parameter(n), after.get_parameter(n)) for n in layers)
    _, largest = whole[0].extremes
    network, inputs = deployed(whole[0], largest), next(iter(task.calibration()))[0]
    assert not any(isinstance(module, ProgressiveNorm) for module in network.modules())
    subnet = whole[0].supernet.subnet(largest)
    subnet.recalibrate([inputs for inputs, _ in task.calibration()])
    torch.testing.assert_close(network(inputs), subnet(inputs), rtol=1e-4, atol=1e-4)


def deployed(trainee: Trainee, architecture: Architecture) -> torch.nn.Module:
    """The inference form of a recalibrated sub-network."""
    subnet = trainee.supernet.subnet(architecture)
    subnet.recalibrate([inputs for inputs, _ in trainee.task.calibration()])
    network = architecture.build()
    network.load_state_dict(subnet.state())
    return fused(network)


class Stopped(Exception):
    pass


def test_a_resumed_training_goes_on_where_the_share_was(
    task: LoadedTask, whole: tuple[Trainee, list[list[set[float]]]], tmp_path: Path
) -> None:
    NOTED.clear()
    checkpoint = tmp_path / "checkpoint.safetensors"

    def stop() -> None:
        raise Stopped

    with pytest.raises(Stopped):
        Fit(SETTINGS, fresh(task), 5, checkpoint).run(QUIET, check=stop)
    resumed = fresh(task)
    Fit(SETTINGS, resumed, 5, checkpoint).run(QUIET)
    assert whole[1] == NOTED
    expected = dict(whole[0].supernet.named_parameters())
    assert all(torch.equal(parameter, expected[name]) for name, parameter in resumed.supernet.named_parameters())
    finished = fresh(task)
    assert Fit(SETTINGS, finished, 5, checkpoint).done
    assert shares(finished.subnet(finished.extremes[1])) == {0.0}


def test_tuning_trained_weights_begins_at_the_end(task: LoadedTask) -> None:
    NOTED.clear()
    Fit(SETTINGS.model_copy(update={"epochs": 1}), fresh(task), 5, tuning=True).run(QUIET)
    assert NOTED and all(noted == [{0.0}, {0.0}] for noted in NOTED)
