"""ScheduledDropPath: which paths are left out, how often in the course of a training, and when not."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas.data.digits import Digits
from nas.progress import LineProgress
from nas.tasks._loaded import LoadedTask, TensorBatch
from nas.tasks.classification import Classification
from nas.training._fit import Fit
from nas.training._role import Trainee
from nas.training.single_path import SinglePath
from searchspaces.architecture import Architecture
from searchspaces.blocks.sum import Sum
from searchspaces.drop_path import dropped
from searchspaces.networks._role import Signature
from searchspaces.placements import Placements
from searchspaces.supernet import Supernet
from tests.searchspaces.spaces import CELL, METAFORMER, MOBILENET, NAS_BENCH_201, space

QUIET = LineProgress(io.StringIO())
SMALL: dict[str, Any] = {
    "kind": "cell",
    "filters": 2,
    "stages": [1, 1],
    "nodes": 2,
    "operations": ["skip_connect", "max_pool_3x3", "sep_conv_3x3"],
}


@pytest.fixture(scope="module")
def task() -> LoadedTask:
    return Classification(data=Digits()).load()


def fresh(task: LoadedTask) -> Trainee:
    torch.manual_seed(1)
    placements = Placements(space(SMALL, Signature(*task.signature())))
    return Trainee(Supernet(placements), placements, task)


def sampled(description: dict[str, Any], count: int = 5) -> list[Architecture]:
    found = space(description)
    return [found.decode(row) for row in found.sample(np.random.default_rng(0), count)]


def test_a_sample_is_left_out_whole_or_scaled_so_that_the_mean_stays() -> None:
    torch.manual_seed(0)
    x = torch.rand(4000, 3, 2, 2) + 0.5
    y = dropped(x, 0.3)
    gone = (y == 0).flatten(1)
    assert torch.equal(gone.all(1), gone.any(1))
    assert gone.all(1).float().mean().item() == pytest.approx(0.3, abs=0.03)
    torch.testing.assert_close(y[~gone.all(1)], x[~gone.all(1)] / 0.7)
    torch.testing.assert_close(y.mean(0), x.mean(0), rtol=0.05, atol=0)


@pytest.mark.parametrize("description", [CELL, NAS_BENCH_201], ids=["cell", "nas_bench_201"])
def test_the_paths_are_the_operations_that_are_summed_but_for_identities(description: dict[str, Any]) -> None:
    for architecture in sampled(description):
        trace = architecture.traced()
        summed = {
            source - 1
            for placement, sources in zip(trace.placements, trace.sources, strict=True)
            if isinstance(placement.part, Sum)
            for source in sources
        }
        modules = [placement.part.build(placement.shape) for placement in trace.placements]
        identities = {number for number, module in enumerate(modules) if isinstance(module, nn.Identity)}
        assert sorted(trace.paths) == sorted(summed - identities) and trace.paths


@pytest.mark.parametrize("description", [METAFORMER, MOBILENET], ids=["metaformer", "mobilenet"])
def test_a_chain_has_no_paths_to_leave_out(description: dict[str, Any]) -> None:
    assert not any(architecture.traced().paths for architecture in sampled(description))


def test_outputs_are_those_of_the_network_whose_blocks_are_hooked(task: LoadedTask) -> None:
    trainee, inputs = fresh(task), next(iter(task.calibration()))[0][:32]
    trainee.supernet.drop_path, trainee.supernet.progress = 0.6, 0.5
    for architecture in trainee.sample(np.random.default_rng(0), 4):
        subnet = trainee.subnet(architecture)
        network = architecture.build().train()
        network.load_state_dict(subnet.state())
        for number in architecture.traced().paths:
            network[number].register_forward_hook(lambda module, x, y: dropped(y, 0.3))
        torch.manual_seed(7)
        expected = network(inputs)
        torch.manual_seed(7)
        torch.testing.assert_close(subnet(inputs), expected, rtol=1e-5, atol=1e-5)


def test_nothing_is_left_out_of_evaluation_and_recalibration(task: LoadedTask) -> None:
    inputs = next(iter(task.calibration()))[0]
    outputs: list[Tensor] = []
    for probability in (0.0, 0.9):
        trainee = fresh(task)
        trainee.supernet.drop_path = probability
        subnet = trainee.subnet(trainee.extremes[1])
        with torch.no_grad():
            outputs.append(subnet(inputs))
        subnet.recalibrate([inputs])
        outputs.append(subnet(inputs))
    assert torch.equal(outputs[0], outputs[2]) and torch.equal(outputs[1], outputs[3])


class Noting(SinglePath):
    """A single path, which notes how probable it is that a path is left out."""

    def losses(self, trainee: Trainee, batch: TensorBatch, rng: np.random.Generator) -> Iterator[Tensor]:
        NOTED.append(trainee.subnet(trainee.extremes[1])._drop_path)
        yield from super().losses(trainee, batch, rng)


NOTED: list[float] = []


class Stopped(Exception):
    pass


def test_the_probability_rises_linearly_and_a_resumed_training_leaves_out_the_same(
    task: LoadedTask, tmp_path: Path
) -> None:
    settings = Noting(epochs=3, batch_size=256, drop_path=0.4)
    whole, plain = fresh(task), fresh(task)
    Fit(settings, whole, 0).run(QUIET)
    steps = 3 * task.steps(256)
    assert pytest.approx([0.4 * (step + 1) / steps for step in range(steps)]) == NOTED
    checkpoint = tmp_path / "checkpoint.safetensors"

    def stop() -> None:
        raise Stopped

    with pytest.raises(Stopped):
        Fit(settings, fresh(task), 0, checkpoint).run(QUIET, check=stop)
    resumed = fresh(task)
    torch.manual_seed(99)
    Fit(settings, resumed, 0, checkpoint).run(QUIET)
    Fit(settings.model_copy(update={"drop_path": 0.0}), plain, 0).run(QUIET)
    ends = [list(trainee.supernet.parameters()) for trainee in (whole, resumed, plain)]
    assert all(torch.equal(a, b) for a, b in zip(ends[0], ends[1], strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(ends[0], ends[2], strict=True))
