"""Adding an operator is adding a file: one in a package from outside goes the whole way by its name."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from nas import cli
from nas.config import read
from searchspaces.architecture import Architecture
from searchspaces.cost import architecture_cost, cost
from searchspaces.networks._role import Signature
from searchspaces.placements import Placements
from searchspaces.space import SearchSpace
from searchspaces.supernet import Supernet
from tests.nas.experiments import TINY

OPERATOR = '''
"""Channels blurred by a kernel of their own, and sharpened by what that takes away."""

from torch import Tensor, nn

from searchspaces.mixers._role import TokenMixer
from searchspaces.part import Shape


class Sharpen(TokenMixer):
    """x + gain (x - blur(x)), with a learned blur and gain for each channel."""

    kernel: int = 3

    def build(self, shape: Shape) -> nn.Module:
        """The operator for [b c h w] features."""
        return Sharpening(shape[0], self.kernel)


class Sharpening(nn.Module):
    """[b c h w] -> [b c h w]."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.blur = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.gain = nn.Conv2d(channels, channels, 1, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        """The sharpened features."""
        return x + self.gain(x - self.blur(x))
'''
KIND = "own_operators.sharpen:Sharpen"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A space whose blocks are all of the new operator, with open kernel and integer policy."""
    package = tmp_path / "own_operators"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "sharpen.py").write_text(OPERATOR, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    known = "{choice: [{kind: depthwise, kernel: {choice: [3, 5]}}, {kind: pooling}]}"
    own = f'{{kind: "{KIND}", kernel: {{choice: [3, 5]}}}}\n        quantization: {{kind: integer}}'
    assert known in TINY
    path = tmp_path / "own.yaml"
    path.write_text(TINY.replace(known, own).replace("width: 4}", "width: {choice: [4, 6]}}"), encoding="utf-8")
    return path


def test_its_weights_are_shared_and_its_cost_is_counted(config: Path) -> None:
    experiment = read(config)
    space = SearchSpace.of(experiment.space, Signature((1, 8, 8), 10))
    network = Supernet(Placements(space))
    row = np.zeros((1, len(space.decisions)), dtype=np.int64)
    small, x = space.decode(row[0]), torch.randn(2, 1, 8, 8)
    subnet = network.subnet(small)
    subnet.recalibrate([x])
    alone = small.build()
    alone.load_state_dict(subnet.state())
    torch.testing.assert_close(subnet(x), alone.eval()(x), rtol=0, atol=0)
    block = next(found for found in small.blocks() if "sharpen" in json.dumps(found.part.describe()))
    channels, positions = block.shape[0], block.shape[1] * block.shape[2]
    assert cost(block.part, block.shape).depthwise_macs == channels * positions * (3 * 3 + 1)


@pytest.mark.slow
def test_it_is_searched_and_exported(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    monkeypatch.setattr(sys, "argv", ["nas", "search", str(config), "--runs", str(runs), "--json"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    for model in json.loads(capsys.readouterr().out):
        folder = runs / "own-1" / "exports" / model["id"]
        architecture = Architecture.parse(model["architecture"])
        assert model["macs"] == architecture_cost(architecture).macs
        assert "own_operators" not in (folder / "model.py").read_text(encoding="utf-8")
        inputs = {"input": np.zeros((2, 1, 8, 8), np.float32)}
        for file in ("model.onnx", "model.int8.onnx"):
            (output,) = onnxruntime.InferenceSession(folder / file).run(None, inputs)
            assert output.shape == (2, 10) and np.isfinite(output).all()
