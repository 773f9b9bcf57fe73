"""A search that starts from a trained network: no training, exact resume, and what is kept of its accuracy."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor, nn

from nas.archive import OK, Archive
from nas.config import ConfigurationError, read
from nas.data.digits import Digits
from nas.evaluator import error
from nas.failures import exit_code
from nas.progress import LineProgress
from nas.run import Run
from nas.tasks._loaded_classification import LoadedClassification
from nas.tasks.classification import Classification
from searchspaces.architecture import Architecture
from searchspaces.cost import architecture_cost
from searchspaces.pretrained import PretrainedError
from tests.searchspaces.spaces import choice

WIDTH, HEADS, HIDDEN, DEPTH = 32, 4, 128, 4
SPLIT: dict[str, Any] = {"validation": 0.25, "test": 0.25}
"""Half of the images judge: one in 448 of each split is 0.2 points."""


class DigitsTransformer(nn.Module):
    """A plain encoder of the 16 patches of a digit, as anyone would write it with torch."""

    def __init__(self, depth: int = DEPTH) -> None:
        super().__init__()
        self.embedding = nn.Conv2d(1, WIDTH, 2, 2)
        self.positions = nn.Parameter(0.02 * torch.randn(1, 16, WIDTH))
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, HIDDEN, 0.1, "gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, depth, nn.LayerNorm(WIDTH), enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embedding(x).flatten(2).transpose(1, 2) + self.positions
        return self.head(self.encoder(tokens).mean(1))


def task() -> LoadedClassification:
    return Classification(data=Digits(**SPLIT)).load()


def configuration(folder: Path, depth: int = DEPTH, **changes: Any) -> Path:
    """A search over what can be left out of the transformer."""
    quarters = (0, HIDDEN // 4, HIDDEN // 2, 3 * HIDDEN // 4, HIDDEN)
    block = {"heads": choice(0, 1, 2, 3, HEADS), "head_width": WIDTH // HEADS, "hidden": choice(*quarters)}
    space = {"kind": "transformer", "width": WIDTH, "depth": depth, "class_token": False, "block": block}
    experiment = {
        "task": {"kind": "classification", "data": {"kind": "digits", **SPLIT}},
        "space": space,
        "pretrained": {"weights": str(folder / "weights.safetensors")},
        "hardware": {"kind": "roofline"},
        "profile": {"networks": 0, "verified": 0},
        "objectives": {"error": "minimize", "parameters": "minimize"},
        "strategy": {"kind": "nsga2", "evaluations": 12, "population": 6},
        "executor": {"kind": "local", "workers": 1},
        **changes,
    }
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in experiment.items() if value is not None}))
    return path


def opened(config: Path, folder: Path) -> Run:
    folder.mkdir(exist_ok=True)
    return Run(read(config), folder, LineProgress(io.StringIO()))


@pytest.fixture
def untrained(tmp_path: Path) -> nn.Module:
    """A transformer whose weights are in the folder of the test."""
    torch.manual_seed(0)
    module = DigitsTransformer(2).eval()
    save_file(module.state_dict(), tmp_path / "weights.safetensors")
    return module


@torch.inference_mode()
def test_the_shared_weights_are_those_of_the_file_without_training(untrained: nn.Module, tmp_path: Path) -> None:
    run = opened(configuration(tmp_path, 2), tmp_path / "run")
    assert run.experiment.training.epochs == 0
    run.train()
    whole = run.trainee.supernet.subnet(run.trainee.extremes[1]).eval()
    inputs, _ = next(task().validation())
    torch.testing.assert_close(whole(inputs), untrained(inputs), rtol=0, atol=1e-5)


def test_a_run_goes_on_without_the_file(untrained: nn.Module, tmp_path: Path) -> None:
    config = configuration(tmp_path, 2)
    first = opened(config, tmp_path / "run")
    first.train(), first.search()
    (tmp_path / "weights.safetensors").unlink()
    again = opened(config, tmp_path / "run")
    again.train(), again.search()
    weights = first.trainee.supernet.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in again.trainee.supernet.state_dict().items())
    with pytest.raises(PretrainedError, match=r"weights\.safetensors: cannot be read"):
        opened(config, tmp_path / "other").train()


@pytest.mark.parametrize("sort", ["contributions", "norms", "none"])
def test_sorting_is_a_setting(untrained: nn.Module, tmp_path: Path, sort: str) -> None:
    file = str(tmp_path / "weights.safetensors")
    run = opened(configuration(tmp_path, 2, pretrained={"weights": file, "sort": sort}), tmp_path / "run")
    found = run.trainee.supernet.subnet(run.trainee.extremes[1]).state()["2.mixer.expand.weight"]
    given = untrained.get_parameter("encoder.layers.0.linear1.weight").detach()[..., None, None]
    assert torch.equal(found, given) == (sort == "none")
    assert torch.equal(found.sort(0).values, given.sort(0).values)


def test_without_weights_training_has_to_be_described(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="training: is missing"):
        read(configuration(tmp_path, pretrained=None))


def test_weights_that_do_not_fit_are_the_users_to_mend(untrained: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(PretrainedError, match=r"lack encoder\.layers\.2") as raised:
        opened(configuration(tmp_path, 3), tmp_path / "run").train()
    assert exit_code(raised.value) == 2


def fitted(epochs: int) -> nn.Module:
    """The transformer, trained on the training images alone."""
    torch.manual_seed(0)
    module, data = DigitsTransformer(), task()
    optimizer = torch.optim.AdamW(module.parameters(), 2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, epochs * data.steps(64))
    for epoch in range(epochs):
        for inputs, targets in data.train_batches(0, epoch, 64):
            optimizer.zero_grad()
            data.loss(module(inputs), targets).backward()
            optimizer.step()
            schedule.step()
    return module.eval()


@pytest.mark.slow
def test_two_thirds_of_the_parameters_keep_the_accuracy_without_retraining(tmp_path: Path) -> None:
    """Chosen by the validation images; both accuracies are of the test images, unseen until then."""
    module, data = fitted(40), task()
    save_file(module.state_dict(), tmp_path / "weights.safetensors")
    parameters = sum(parameter.numel() for parameter in module.parameters())
    config = configuration(
        tmp_path,
        constraints={"parameters": parameters / 1.5},
        strategy={"kind": "nsga2", "evaluations": 240, "population": 40},
    )
    run = opened(config, tmp_path / "run")
    run.train(), run.search()
    with Archive.open(run.folder / "archive.sqlite", None) as archive:
        best = min((trial for trial in archive.trials() if trial.state == OK), key=lambda trial: trial.values["error"])
    architecture = Architecture.parse(best.architecture)
    assert architecture_cost(architecture).parameters * 1.5 <= parameters
    small = run.trainee.supernet.subnet(architecture)
    small.recalibrate([inputs for inputs, _ in data.calibration()])
    before, after = error(module, data, "test"), error(small, data, "test")
    assert before < 0.06, "the network to begin with is not trained"
    assert after <= before + 0.01
    assert np.isclose(best.values["error"], error(small, data))
