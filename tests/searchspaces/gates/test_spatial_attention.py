"""Gates over positions against their equations in numpy and scipy."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.ndimage import maximum_filter
from scipy.special import expit, softmax

from searchspaces.gates.pixel_attention import PixelAttention
from searchspaces.gates.polarized import Polarized
from searchspaces.gates.spatial_channel_excitation import SpatialChannelExcitation
from searchspaces.gates.subspace_attention import SubspaceAttention
from tests.searchspaces.twins import twin_of

SHAPES = [(6, 5, 4), (3, 1, 2), (1, 3, 3), (7, 4, 1)]
Array = npt.NDArray[Any]


def array(tensor: Any) -> Array:
    return tensor.detach().numpy()  # type: ignore[no-any-return]


def matrix(layer: Any) -> Array:
    return array(layer.weight).reshape(layer.weight.shape[:2])


def features(shape: Any) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(2, *shape, dtype=torch.float64)


@pytest.mark.oracle("pixel_attention")
@pytest.mark.parametrize("shape", SHAPES)
def test_pixel_attention_scales_each_number(shape: Any) -> None:
    module: Any = PixelAttention().build(shape).double()
    x = features(shape)
    for i, j in np.ndindex(*shape[1:]):
        pixel = array(x)[:, :, i, j]
        expected = pixel * expit(pixel @ matrix(module.attention).T + array(module.attention.bias))
        np.testing.assert_allclose(array(module(x))[:, :, i, j], expected, rtol=1e-12)


def channel_weights(x: Array, branch: Any) -> Array:
    """The channel branch for one sample [c p] -> [c]."""
    context = matrix(branch.value) @ x @ softmax(matrix(branch.query)[0] @ x)
    raised = matrix(branch.output) @ context
    standard = (raised - raised.mean()) / np.sqrt(raised.var() + branch.norm.eps)
    return expit(standard * array(branch.norm.weight) + array(branch.norm.bias))  # type: ignore[no-any-return]


def spatial_weights(x: Array, branch: Any) -> Array:
    """The spatial branch for one sample [c p] -> [p]."""
    return expit(softmax((matrix(branch.query) @ x).mean(1)) @ (matrix(branch.value) @ x))  # type: ignore[no-any-return]


@pytest.mark.oracle("polarized")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("layout", ["parallel", "sequential"])
def test_polarized_filters_channels_and_positions(layout: Any, shape: Any) -> None:
    module: Any = Polarized(layout=layout).build(shape).double()
    torch.nn.init.normal_(module.channel.norm.weight)
    x = features(shape)
    for sample, found in zip(array(x), array(module(x)), strict=True):
        flat = sample.reshape(shape[0], -1)
        by_channel = channel_weights(flat, module.channel)[:, None] * flat
        parallel = by_channel + spatial_weights(flat, module.spatial) * flat
        sequential = spatial_weights(by_channel, module.spatial) * by_channel
        expected = parallel if layout == "parallel" else sequential
        np.testing.assert_allclose(found.reshape(flat.shape), expected, rtol=1e-10)


@pytest.mark.oracle("subspace_attention")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_subspaces_attend_each_for_itself(groups: int, shape: Any) -> None:
    module: Any = SubspaceAttention(groups=groups).build(shape).double()
    x = features(shape)
    for sample, found in zip(array(x), array(module(x)), strict=True):
        for group in range(min(groups, shape[0])):
            own = sample[group::groups]
            depthwise = own * matrix(module.depthwise)[group::groups, :, None]
            depthwise = depthwise + array(module.depthwise.bias)[group::groups, None, None]
            pooled = np.stack([maximum_filter(image, 3, mode="constant", cval=-np.inf) for image in depthwise])
            logits = np.tensordot(matrix(module.pointwise)[group, : len(own)], pooled, 1)
            np.testing.assert_allclose(found[group::groups], own * softmax(logits) + own, rtol=1e-12)


@twin_of(*itertools.product([SubspaceAttention(groups=2), SubspaceAttention(groups=3)], SHAPES))
def subspaces(part: SubspaceAttention, module: Any, x: torch.Tensor) -> torch.Tensor:
    """One subspace after the other."""
    y = torch.zeros_like(x)
    for group in range(min(part.groups, x.shape[1])):
        own = x[:, group :: part.groups]
        weight, bias = module.depthwise.weight[group :: part.groups, 0], module.depthwise.bias[group :: part.groups]
        pooled = torch.nn.functional.max_pool2d(own * weight + bias[:, None, None], 3, 1, 1)
        logits = (pooled * module.pointwise.weight[group, : own.shape[1]]).sum(1)
        attention = logits.flatten(1).softmax(1).view_as(logits)
        y = y.index_add(1, torch.arange(group, x.shape[1], part.groups), own * attention[:, None] + own)
    return y


@pytest.mark.parametrize("groups", [1, 3])
def test_the_attention_of_a_subspace_sums_to_one(groups: int) -> None:
    module: Any = SubspaceAttention(groups=groups).build((6, 5, 4)).double()
    attention = module(torch.ones(1, 6, 5, 4, dtype=torch.float64)) - 1
    torch.testing.assert_close(attention.sum((2, 3)), torch.ones(1, 6, dtype=torch.float64))


@pytest.mark.oracle("spatial_channel_excitation")
@pytest.mark.parametrize("shape", [*SHAPES, (5, 8)])
@pytest.mark.parametrize("aggregation", ["sum", "maximum", "product"])
def test_excitations_are_put_together(aggregation: Any, shape: Any) -> None:
    both: Any = SpatialChannelExcitation(aggregation=aggregation).build(shape).double()
    x = features(shape)
    flat = array(x).reshape(2, shape[0], -1)
    channel, spatial = both.channel, both.spatial
    hidden = np.maximum(flat.mean(2) @ matrix(channel.reduce).T + array(channel.reduce.bias), 0)
    by_channel = flat * expit(hidden @ matrix(channel.expand).T + array(channel.expand.bias))[..., None]
    by_position = (
        flat * expit(np.einsum("c,bcp->bp", matrix(spatial.squeeze)[0], flat) + array(spatial.squeeze.bias))[:, None]
    )
    join = {"sum": np.add, "maximum": np.maximum, "product": np.multiply}[aggregation]
    np.testing.assert_allclose(array(both(x)).reshape(flat.shape), join(by_channel, by_position), rtol=1e-12)
    np.testing.assert_allclose(array(channel(x)).reshape(flat.shape), by_channel, rtol=1e-12)
    np.testing.assert_allclose(array(spatial(x)).reshape(flat.shape), by_position, rtol=1e-12)


def test_a_mode_alone_has_only_its_own_weights() -> None:
    names = {
        mode: {
            name.split(".")[0] for name, _ in SpatialChannelExcitation(mode=mode).build((4, 2, 2)).named_parameters()
        }
        for mode in ("channel", "spatial", "both")
    }
    assert names == {"channel": {"reduce", "expand"}, "spatial": {"squeeze"}, "both": {"channel", "spatial"}}
