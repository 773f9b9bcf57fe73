"""One-shot aggregation and its rivals, against concatenations written out and against scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.signal import correlate
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.blocks.one_shot_aggregation import AggregatedConvolutions, JointConvolution, OneShotAggregation
from searchspaces.cost import cost
from searchspaces.fused import fused
from searchspaces.gates.effective_squeeze_excitation import EffectiveSqueezeExcitation
from searchspaces.placements import Unit
from searchspaces.skeleton import roles, skeleton, take
from searchspaces.supernet import _largest

PARTS = [
    OneShotAggregation(width=6, inner=3, convolutions=4),
    OneShotAggregation(width=5, inner=3, convolutions=3, residual=True, gate=EffectiveSqueezeExcitation()),
    OneShotAggregation(width=6, inner=4, convolutions=3, kernel=5, aggregation="dense", activation="hardswish"),
    OneShotAggregation(width=5, inner=4, convolutions=1, aggregation="dense"),
    OneShotAggregation(width=5, inner=3, convolutions=4, aggregation="residual", residual=True),
]
SHAPE = (5, 7, 3)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def trained(part: OneShotAggregation) -> Any:
    module = part.build(SHAPE).double()
    for _ in range(3):
        module(torch.randn(8, *SHAPE, dtype=torch.float64))
    return module.eval()


def joint(layer: Any, pieces: list[Tensor], part: OneShotAggregation) -> Tensor:
    """One published layer: concatenate, convolve, normalize, activate."""
    weight = torch.cat([piece.weight for piece in layer.convolutions.values()], 1)
    y = F.conv2d(torch.cat(pieces, 1), weight, padding=weight.shape[2] // 2)
    norm = layer.norm
    y = F.batch_norm(y, norm.running_mean, norm.running_var, norm.weight, norm.bias)
    return F.relu(y) if part.activation == "relu" else F.hardswish(y)


def twin(part: OneShotAggregation, module: Any, x: Tensor) -> Tensor:
    """The definition, one topology at a time."""
    features = [x]
    for layer in module.layers:
        y = joint(layer, features if part.aggregation == "dense" else features[-1:], part)
        if part.aggregation == "residual" and len(features) > 1:
            y = y + features[-1]
        features.append(y)
    y = joint(module.aggregate, features[-1:] if part.aggregation == "residual" else features, part)
    return module.gate(y) + x if part.residual else module.gate(y)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: f"{part.aggregation}-{part.convolutions}")
def test_value_and_gradients_equal_concatenation_written_out(part: OneShotAggregation) -> None:
    module, x = trained(part), torch.randn(2, *SHAPE, dtype=torch.float64, requires_grad=True)
    value, expected = module(x), twin(part, module, x)
    torch.testing.assert_close(value, expected, rtol=1e-11, atol=1e-12)
    direction, leaves = torch.randn_like(value), [x, *module.parameters()]
    found, wanted = (torch.autograd.grad(y, leaves, direction, retain_graph=True) for y in (value, expected))
    for gradient, want in zip(found, wanted, strict=True):
        torch.testing.assert_close(gradient, want, rtol=1e-10, atol=1e-11)


def test_one_shot_aggregation_equals_scipys_correlations() -> None:
    part = PARTS[0]
    module = trained(part)

    def layer(found: Any, pieces: list[np.ndarray]) -> np.ndarray:
        stacked = np.concatenate(pieces)
        weight = np.concatenate([piece.weight.detach().numpy() for piece in found.convolutions.values()], 1)
        y = np.stack([sum(correlate(c, k, "same") for c, k in zip(stacked, row, strict=True)) for row in weight])
        mean, var, scale, shift = (
            getattr(found.norm, name).detach().numpy()[:, None, None]
            for name in ("running_mean", "running_var", "weight", "bias")
        )
        return np.maximum((y - mean) / np.sqrt(var + found.norm.eps) * scale + shift, 0)

    x = torch.randn(1, *SHAPE, dtype=torch.float64)
    features = [x[0].numpy()]
    for found in module.layers:
        features.append(layer(found, features[-1:]))
    expected = layer(module.aggregate, features)
    np.testing.assert_allclose(module(x)[0].detach().numpy(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: f"{part.aggregation}-{part.convolutions}")
def test_the_inference_form_has_one_convolution_a_layer(part: OneShotAggregation) -> None:
    module, x = trained(part), torch.randn(2, *SHAPE, dtype=torch.float64)
    found = fused(module)
    torch.testing.assert_close(found(x), module(x), rtol=1e-10, atol=1e-11)
    assert not any(isinstance(child, JointConvolution | nn.BatchNorm2d) for child in found.modules())
    kernels = [child for child in found.modules() if isinstance(child, nn.Conv2d)]
    assert len(kernels) == part.convolutions + 1 + isinstance(part.gate, EffectiveSqueezeExcitation)


def units(aggregation: str) -> list[Unit]:
    parts = [
        OneShotAggregation(width=width, inner=inner, convolutions=count, aggregation=aggregation)
        for width in (4, 6)
        for inner in (2, 5)
        for count in (1, 3)
    ]
    return [Unit(part, (channels, 4, 4)) for part in parts for channels in (3, 7)]


@pytest.mark.parametrize("aggregation", ["one_shot", "dense"])
def test_every_narrower_and_shorter_module_is_the_wide_one_without_its_other_channels(aggregation: str) -> None:
    """The wide concatenation holds the narrow one's channels at many places; with all others zero they agree."""
    every = units(aggregation)
    wide = max(every, key=lambda unit: (unit.part.width, unit.part.inner, unit.part.convolutions, unit.shape))
    shared = {key: tensor.double() for key, tensor in _largest(every).items()}
    big: Any = wide.part.build(wide.shape).double().eval()
    for unit in every:
        small: Any = unit.part.build(unit.shape).double().eval()
        for name, role in roles(small).items():
            small.get_parameter(name).data.copy_(take(role, shared[role.key]))
        for name, role in roles(big).items():
            kept, own = torch.zeros_like(shared[role.key]), skeleton(unit.part, unit.shape).roles.get(name)
            if own is not None:
                take(own, kept).copy_(take(own, shared[role.key]))
            big.get_parameter(name).data.copy_(kept)
        x = torch.randn(2, *wide.shape, dtype=torch.float64)
        expected = small(x[:, : unit.shape[0]])
        torch.testing.assert_close(big(x)[:, : unit.part.width], expected, rtol=1e-11, atol=1e-12)


def test_a_feature_keeps_its_weights_in_every_topology_and_depth() -> None:
    keys = {
        kind: {role.key for role in roles(OneShotAggregation(width=4, aggregation=kind).build(SHAPE)).values()}
        for kind in ("one_shot", "dense", "residual")
    }
    assert keys["residual"] < keys["one_shot"] < keys["dense"]
    short = {role.key for role in roles(OneShotAggregation(width=4, convolutions=2).build(SHAPE)).values()}
    assert short < keys["one_shot"]


def test_work_is_linear_in_depth_for_one_shot_and_quadratic_for_dense() -> None:
    def macs(aggregation: str, count: int) -> int:
        part = OneShotAggregation(width=8, inner=8, convolutions=count, aggregation=aggregation)
        return cost(part, (8, 4, 4)).macs

    for count in (1, 2, 5):
        assert macs("one_shot", count) == 16 * 64 * (9 * count + count + 1)
        assert macs("dense", count) == 16 * 64 * (9 * count * (count + 1) // 2 + count + 1)
        assert macs("residual", count) == 16 * 64 * (9 * count + 1)


def test_a_residual_connection_stands_where_the_width_stays() -> None:
    for width, expected in ((5, True), (6, False)):
        module = OneShotAggregation(width=width, residual=True).build(SHAPE)
        assert isinstance(module, AggregatedConvolutions) and module.shortcut is expected
