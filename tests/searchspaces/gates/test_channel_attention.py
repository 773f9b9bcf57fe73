"""Channel gates against numpy and scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.fft import dctn
from scipy.ndimage import correlate1d
from scipy.special import expit

from searchspaces.faults import DescriptionError
from searchspaces.gates._role import Gate
from searchspaces.gates.conditional_channel_weighting import ConditionalChannelWeighting
from searchspaces.gates.efficient_channel_attention import EfficientChannelAttention, adaptive_kernel
from searchspaces.gates.multispectral import LOW, TOP, Multispectral
from searchspaces.gates.squeeze_excitation import SqueezeExcitation
from searchspaces.parse import parse
from tests.searchspaces import twins
from tests.searchspaces.twins import twin_of

Array = npt.NDArray[Any]


def array(tensor: Any) -> Array:
    return tensor.detach().numpy()  # type: ignore[no-any-return]


def features(*shape: int) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(2, *shape, dtype=torch.float64)


@pytest.mark.oracle("efficient_channel_attention")
@pytest.mark.parametrize("shape", [(9, 3, 5), (2, 4, 4), (1, 2, 3), (6, 11)])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_efficient_channel_attention_correlates_the_means(kernel: int, shape: Any) -> None:
    module: Any = EfficientChannelAttention(kernel=kernel).build(shape).double()
    x = features(*shape)
    means = array(x).reshape(*x.shape[:2], -1).mean(2)
    scale = expit(correlate1d(means, array(module.convolution.weight)[0, 0], axis=1, mode="constant"))
    expected = array(x) * scale.reshape(*scale.shape, *[1] * (x.ndim - 2))
    np.testing.assert_allclose(array(module(x)), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("channels", "kernel"), [(1, 1), (8, 3), (16, 3), (32, 3), (64, 3), (128, 5), (256, 5), (512, 5), (2048, 7)]
)
def test_the_adaptive_kernel_grows_with_the_logarithm_of_the_channels(channels: int, kernel: int) -> None:
    assert adaptive_kernel(channels) == kernel
    module: Any = EfficientChannelAttention().build((channels, 2, 2))
    assert sum(parameter.numel() for parameter in module.parameters()) == kernel


@pytest.mark.oracle("multispectral")
@pytest.mark.parametrize("shape", [(5, 7, 7), (6, 14, 21), (3, 5, 9), (4, 1, 2)])
@pytest.mark.parametrize("frequencies", [1, 4, 16, ((2, 1), (0, 6), (6, 6))])
def test_each_channel_is_squeezed_to_its_coefficient_of_the_cosine_transform(shape: Any, frequencies: Any) -> None:
    module: Any = Multispectral(frequencies=frequencies, reduction=2).build(shape).double()
    x = features(*shape)
    spectrum = dctn(array(x), axes=(2, 3), norm="ortho")
    pairs = LOW[:frequencies] if isinstance(frequencies, int) else frequencies
    own = [(u * shape[1] // 7, v * shape[2] // 7) for u, v in pairs]
    squeezed = np.stack([spectrum[:, c, *own[c % len(own)]] for c in range(shape[0])], 1)
    hidden = np.maximum(squeezed @ array(module.reduce.weight).T, 0)
    expected = array(x) * expit(hidden @ array(module.expand.weight).T)[..., None, None]
    np.testing.assert_allclose(array(module(x)), expected, rtol=1e-6)


def test_the_lowest_frequency_alone_is_squeeze_and_excitation_without_biases() -> None:
    x = features(6, 5, 4)
    spectral: Any = Multispectral(frequencies=1, reduction=2).build((6, 5, 4)).double()
    plain: Any = SqueezeExcitation(reduction=2).build((6, 5, 4)).double()
    with torch.no_grad():
        plain.reduce.weight.copy_(20**0.5 * spectral.reduce.weight[..., None, None])
        plain.expand.weight.copy_(spectral.expand.weight[..., None, None])
        plain.reduce.bias.zero_()
        plain.expand.bias.zero_()
    torch.testing.assert_close(spectral(x), plain(x), rtol=1e-6, atol=1e-7)


def test_the_orders_name_distinct_frequencies_and_begin_with_the_mean() -> None:
    assert len(set(LOW)) == 49 and len(set(TOP)) == 32
    assert LOW[0] == TOP[0] == (0, 0)
    assert [u + v for u, v in LOW] == sorted(u + v for u, v in LOW)


def test_frequencies_are_written_as_a_number_or_as_pairs() -> None:
    assert parse(Gate, {"kind": "multispectral", "frequencies": 4}) == Multispectral(frequencies=4)
    pairs = parse(Gate, {"kind": "multispectral", "frequencies": [[0, 0], [1, 2]]})
    assert pairs == Multispectral(frequencies=((0, 0), (1, 2)))
    assert parse(Gate, pairs.describe()) == pairs
    for wrong in ([], [[0, 7]], [[1]], 0):
        with pytest.raises(DescriptionError):
            parse(Gate, {"kind": "multispectral", "frequencies": wrong})


def test_the_basis_is_no_part_of_the_weights() -> None:
    small, large = (Multispectral(order="top").build((4, size, size)) for size in (7, 14))
    assert not large.load_state_dict(small.state_dict(), strict=False).missing_keys
    assert {tuple(tensor.shape) for tensor in small.state_dict().values()} == {
        tuple(tensor.shape) for tensor in large.state_dict().values()
    }


def test_a_sequence_is_excited_as_an_image_of_width_one() -> None:
    module, x = SqueezeExcitation().build((6, 9)).double(), features(6, 9)
    assert torch.equal(module(x), module(x[..., None])[..., 0])


def cells(x: Array, cell: int) -> Array:
    """Means over the cells of a grid, each cell cut at the border."""
    rows, columns = range(0, x.shape[2], cell), range(0, x.shape[3], cell)
    means = [[x[:, :, i : i + cell, j : j + cell].mean((2, 3)) for j in columns] for i in rows]
    return np.stack([np.stack(row, -1) for row in means], -2)


def pointwise(x: Array, layer: Any) -> Array:
    return np.einsum("dc,bchw->bdhw", array(layer.weight)[:, :, 0, 0], x) + array(layer.bias)[:, None, None]  # type: ignore[no-any-return]


@pytest.mark.oracle("conditional_channel_weighting")
@pytest.mark.parametrize("shape", [(8, 8, 8), (5, 7, 9), (3, 1, 2), (2, 5, 3)])
@pytest.mark.parametrize("resolutions", [1, 2, 3])
def test_conditional_weights_come_from_the_coarsest_branch(resolutions: int, shape: Any) -> None:
    module: Any = ConditionalChannelWeighting(resolutions=resolutions, cross_reduction=2).build(shape).double()
    cross, spatial = module
    x, cell = features(*shape), 2 ** (resolutions - 1)
    weights = expit(pointwise(np.maximum(pointwise(cells(array(x), cell), cross.reduce), 0), cross.expand))
    rows, columns = np.arange(shape[1]) // cell, np.arange(shape[2]) // cell
    crossed = array(x) * weights[:, :, rows][..., columns]
    means = crossed.mean((2, 3), keepdims=True)
    excited = expit(pointwise(np.maximum(pointwise(means, spatial.reduce), 0), spatial.expand))
    np.testing.assert_allclose(array(module(x)), crossed * excited, rtol=1e-12)


@pytest.mark.parametrize("resolutions", [2, 3])
def test_branches_that_are_poolings_collapse_into_one(resolutions: int) -> None:
    """The paper's function of several branches, with wide weights, is the gate's with their sums."""
    torch.manual_seed(0)
    x, cell = features(4, 8, 8), 2 ** (resolutions - 1)
    module: Any = ConditionalChannelWeighting(resolutions=resolutions, cross_reduction=2).build((4, 8, 8)).double()
    gate = module[0]
    branches = [cells(array(x), 2**k) for k in range(resolutions)]
    joint = np.concatenate([cells(branch, cell // 2**k) for k, branch in enumerate(branches)], 1)
    wide = np.random.default_rng(0).normal(size=(2, 4 * resolutions))
    with torch.no_grad():
        gate.reduce.weight.copy_(torch.from_numpy(wide.reshape(2, resolutions, 4).sum(1))[..., None, None])
    hidden = np.maximum(np.einsum("dc,bchw->bdhw", wide, joint) + array(gate.reduce.bias)[:, None, None], 0)
    weights = expit(pointwise(hidden, gate.expand)).repeat(cell, 2).repeat(cell, 3)
    np.testing.assert_allclose(array(gate(x)), array(x) * weights, rtol=1e-12)


@twin_of(
    *(
        (ConditionalChannelWeighting(resolutions=resolutions, cross_reduction=2), shape)
        for resolutions, shape in [(1, (3, 2, 3)), (2, (5, 3, 5)), (3, (4, 5, 2))]
    ),
)
def weighted(part: ConditionalChannelWeighting, module: Any, x: torch.Tensor) -> torch.Tensor:
    """One cell of the coarsest branch after the other, then the whole."""

    def factors(gate: Any, mean: torch.Tensor) -> torch.Tensor:
        return twins.pointwise(gate.expand, twins.pointwise(gate.reduce, mean).clamp(min=0)).sigmoid()

    cross, spatial = module
    y, cell = x.clone(), 2 ** (part.resolutions - 1)
    for members in twins.cells(x.shape[2:], (cell, cell)).values():
        rows, columns = zip(*members, strict=True)
        own = x[:, :, rows, columns]
        y[:, :, rows, columns] = own * factors(cross, own.mean(2)[:, :, None, None])[..., 0]
    return y * factors(spatial, y.mean((2, 3), keepdim=True))
