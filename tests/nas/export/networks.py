"""Trained-like networks that the export tests share: random weights, recalibrated statistics and ranges."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hardware.backends._role import Backend
from hardware.backends.onnxruntime import OnnxRuntime
from hardware.timing import TimingSettings
from nas.data.digits import Digits
from nas.export._role import Deployable
from nas.tasks._loaded import LoadedTask
from nas.tasks.classification import Classification
from searchspaces.architecture import Architecture
from searchspaces.blocks._role import Block
from searchspaces.networks._role import Network, Signature
from searchspaces.parse import parse
from searchspaces.part import Shape
from searchspaces.placements import Placements
from searchspaces.space import SearchSpace
from searchspaces.supernet import Supernet

BRIEF = TimingSettings(block_ms=0.1, warmup_ms=1.0, visits=2, visit_ms=0.5)
INTEGER = {"kind": "integer"}
MIXERS: list[dict[str, Any]] = [
    {"kind": "depthwise", "kernel": 5, "dilation": [1, 2]},
    {"kind": "pooling"},
    {"kind": "attention", "heads": 2, "head_width": 4},
    {"kind": "window_attention", "heads": 2, "head_width": 4, "window": 3, "shifted": True},
    {"kind": "linear_attention", "heads": 2, "head_width": 4},
    {"kind": "fourier_filter"},
    {"kind": "multi_dilated"},
    {"kind": "identity"},
]
MOBILENET = {
    "kind": "mobilenet",
    "resolution": 7,
    "stem": {"width": 6},
    "stages": [{"depth": 2, "width": 8, "block": {"expansion": 2.0, "gate": {"kind": "squeeze_excitation"}}}],
    "head": 12,
}


def metaformer(*mixers: dict[str, Any], quantization: dict[str, Any] | None = None, norm: str = "batch") -> Any:
    """One stage a mixer; the quantization is that of every second stage."""
    policies = [quantization or {"kind": "none"}, {"kind": "none"}]
    stages = [
        {
            "depth": 1,
            "width": 8 + index,
            "stride": 1 + (index == 1),
            "block": {
                "mixer": mixer,
                "channel_mixer": {"kind": ("mlp", "gated_mlp")[index % 2], "ratio": 2.0},
                "gate": {"kind": ("squeeze_excitation", "none")[index % 2]},
                "norm": norm,
                "quantization": policies[index % 2],
            },
        }
        for index, mixer in enumerate(mixers)
    ]
    return {"kind": "metaformer", "stem": {"patch": 1, "width": 8}, "stages": stages}


@cache
def task() -> LoadedTask:
    return Classification(data=Digits()).load()


def architecture(network: dict[str, Any]) -> Architecture:
    space = SearchSpace.of(parse(Network, network), Signature(*task().signature()))
    return space.decode(space.sample(np.random.default_rng(0), 1)[0])


def deployable(
    network: dict[str, Any] | Architecture, backend: Backend | None = None, spread: float = 0.0, **values: float
) -> Deployable:
    """A trained-like network; `spread` is the deviation of noise on each parameter, so that none is as it starts."""
    found = network if isinstance(network, Architecture) else architecture(network)
    torch.manual_seed(0)
    supernet = Supernet(Placements(SearchSpace(found.input_shape, found.layers)))
    with torch.no_grad():
        for parameter in supernet.parameters() if spread else ():
            parameter += spread * torch.randn_like(parameter)
    subnet = supernet.subnet(found)
    subnet.recalibrate([inputs for inputs, _ in task().calibration()])
    return Deployable(found, subnet.state(), task(), backend or OnnxRuntime(), values)


class Untranslatable(Block):
    """A block whose operator ONNX does not have."""

    def build(self, shape: Shape) -> nn.Module:
        return Eigenvalues(0.5)


SHARE = 0.25
HALF_SHARE = SHARE / 2


def scaled(x: Tensor, factor: float) -> Tensor:
    return x * (factor * HALF_SHARE)


class Eigenvalues(nn.Module):
    """x plus a share of the largest eigenvalue of x x^T."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x + scaled(torch.linalg.eigvalsh(x @ x.transpose(-1, -2)).amax(-1)[..., None, None], self.factor)


class FixedBatch(Block):
    """A block that can only be traced for one batch size."""

    def build(self, shape: Shape) -> nn.Module:
        return Repeated()


class Repeated(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x[index].relu() for index in range(int(x.shape[0]))])
