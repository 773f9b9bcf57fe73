"""Channel mixers with fewer weights or another non-linearity, against numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import erf, expit
from torch import Tensor

from searchspaces.channel_mixers.low_rank import LowRank
from searchspaces.channel_mixers.mlp import Mlp
from searchspaces.channel_mixers.pick_or_mix import PickOrMix
from searchspaces.channel_mixers.series_activation import SeriesActivation
from tests.searchspaces.twins import pointwise, twin_of

SHAPES = [(8, 3, 2), (5, 2, 4), (1, 1, 2), (7, 3, 1)]
FUNCTIONS: dict[str, Any] = {
    "gelu": lambda z: z * (1 + erf(z / 2**0.5)) / 2,
    "relu": lambda z: np.maximum(z, 0),
    "silu": lambda z: z * expit(z),
    "hard_swish": lambda z: z * np.clip(z + 3, 0, 6) / 6,
}


def matrix(layer: Any) -> Any:
    return layer.weight.detach().numpy()[:, :, 0, 0]


def vector(tensor: Any) -> Any:
    return tensor.detach().numpy()


def features(shape: Any) -> Any:
    return torch.randn(2, *shape, dtype=torch.float64)


@pytest.mark.oracle("pick_or_mix")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_subsets_are_picked_from_or_mixed(factor: int, shape: Any) -> None:
    """The loops of the authors' kernel."""
    torch.manual_seed(0)
    module: Any = PickOrMix(factor=factor).build(shape).double()
    torch.nn.init.normal_(module.squeeze.context.weight, std=5)
    x, subsets = features(shape), -(-shape[0] // factor)
    found = module.squeeze(x).detach().numpy()
    seen = set()
    for sample, squeezed in zip(x.numpy(), found, strict=True):
        probability = expit(matrix(module.squeeze.context) @ sample.mean((1, 2)))
        for subset in range(subsets):
            own = sample[subset * factor : (subset + 1) * factor]
            picks = probability[subset] < 0.5
            expected = own.max(0) if picks else own.sum(0) / factor
            np.testing.assert_allclose(squeezed[subset], probability[subset] * expected, rtol=1e-12)
            seen.add(bool(picks))
    assert found.shape == (2, subsets, *shape[1:])
    assert seen == {True, False} or subsets < 3
    expanded = np.einsum("ds,bshw->bdhw", matrix(module.expand), found) + vector(module.expand.bias)[:, None, None]
    np.testing.assert_allclose(module(x).detach().numpy(), expanded, rtol=1e-10)


def decided(module: Any) -> Any:
    """Probabilities on both sides of the threshold."""
    torch.nn.init.normal_(module.squeeze.context.weight, std=5)
    return module


@twin_of(*((PickOrMix(factor=3), shape) for shape in SHAPES), (PickOrMix(), (9, 2, 3)), prepare=decided)
def sampled(part: PickOrMix, module: Any, x: Tensor) -> Tensor:
    """The squeeze, subset by subset and image by image."""
    images = []
    for image in x:
        probability = torch.sigmoid(module.squeeze.context.weight[:, :, 0, 0] @ image.mean((1, 2)))
        subsets = zip(probability, image.split(part.factor), strict=True)
        picked = [p * (own.max(0).values if p < part.threshold else own.sum(0) / part.factor) for p, own in subsets]
        images.append(torch.stack(picked))
    return pointwise(module.expand, torch.stack(images))


def test_the_threshold_decides_between_picking_and_mixing() -> None:
    torch.manual_seed(0)
    x = features((6, 2, 2))
    means, maxima = x.unflatten(1, (2, 3)).mean(2), x.unflatten(1, (2, 3)).amax(2)
    for threshold, expected in ((0, means), (1, maxima)):
        module: Any = PickOrMix(factor=3, threshold=threshold).build((6, 2, 2)).double().squeeze
        probability = module.context(x.mean((2, 3), keepdim=True)).sigmoid()
        torch.testing.assert_close(module(x), probability * expected)


@pytest.mark.parametrize("shape", [(8, 2, 2), (5, 2, 2)])
@pytest.mark.parametrize("rank", [0.1, 0.5, 1.0])
def test_factors_begin_as_the_nearest_matrices_of_their_rank(rank: float, shape: Any) -> None:
    torch.manual_seed(0)
    module: Any = LowRank(ratio=2.0, rank=rank).build(shape)
    torch.manual_seed(0)
    size = max(1, round(rank * shape[0]))
    torch.nn.Conv2d(shape[0], size, 1, bias=False), torch.nn.Conv2d(size, 2 * shape[0], 1)
    dense: Any = torch.nn.Conv2d(shape[0], 2 * shape[0], 1)
    left, values, right = np.linalg.svd(matrix(dense).astype(np.float64), full_matrices=False)
    nearest = (left[:, :size] * values[:size]) @ right[:size]
    np.testing.assert_allclose(matrix(module.expand.left) @ matrix(module.expand.right), nearest, atol=1e-5)
    balance = np.linalg.norm(matrix(module.expand.left), axis=0) / np.linalg.norm(matrix(module.expand.right), axis=1)
    np.testing.assert_allclose(balance, 1, rtol=1e-4)


def test_two_factored_layers_are_the_perceptron_of_their_products() -> None:
    module: Any = LowRank(ratio=2.0, rank=0.5).build((6, 3, 2)).double()
    plain: Any = Mlp(ratio=2.0).build((6, 3, 2)).double()
    with torch.no_grad():
        for name in ("expand", "project"):
            factored, dense = getattr(module, name), getattr(plain, name)
            dense.weight.copy_(torch.from_numpy(matrix(factored.left) @ matrix(factored.right))[..., None, None])
            dense.bias.copy_(factored.left.bias)
    x = features((6, 3, 2))
    torch.testing.assert_close(module(x), plain(x), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("channels", "rank", "size"), [(16, 0.25, 4), (3, 0.1, 1), (10, 1.0, 10)])
def test_the_rank_is_a_share_of_the_smaller_side(channels: int, rank: float, size: int) -> None:
    module: Any = LowRank(rank=rank).build((channels, 2, 2))
    assert module.expand.right.out_channels == module.project.right.out_channels == size


@pytest.mark.oracle("series_activation")
@pytest.mark.parametrize("activation", list(FUNCTIONS))
@pytest.mark.parametrize("terms", [1, 2, 5])
def test_the_series_sums_shifted_and_scaled_activations(terms: int, activation: Any) -> None:
    module: Any = SeriesActivation(ratio=1.5, terms=terms, activation=activation).build((5, 3, 2)).double()
    for parameter in module.series.parameters():
        torch.nn.init.normal_(parameter)
    x = features((5, 3, 2))
    for i, j in np.ndindex(3, 2):
        hidden = matrix(module.expand) @ x[1, :, i, j].numpy() + vector(module.expand.bias)
        terms_of = zip(module.series.scales, module.series.offsets, strict=True)
        series = sum(vector(scale) * FUNCTIONS[activation](hidden + vector(offset)) for scale, offset in terms_of)
        expected = matrix(module.project) @ series + vector(module.project.bias)
        np.testing.assert_allclose(vector(module(x))[1, :, i, j], expected, rtol=1e-9, atol=1e-12)


def test_a_series_begins_as_its_activation_whatever_its_terms() -> None:
    x = torch.randn(2, 4, 3, 3)
    for terms in (1, 3):
        module: Any = SeriesActivation(ratio=1.0, terms=terms).build((4, 3, 3))
        torch.testing.assert_close(module.series(x), torch.nn.functional.gelu(x))
        offsets = [offset[0].item() for offset in module.series.offsets]
        assert offsets == [0.0, 1.0, -1.0][:terms]
