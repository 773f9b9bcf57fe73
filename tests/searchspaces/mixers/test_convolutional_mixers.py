"""Mixers built of convolutions, pooling and gates: their equations term by term, and what merges into one layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.ndimage import correlate
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers.additive_attention import AdditiveAttention
from searchspaces.mixers.ffnified_attention import FfnifiedAttention
from searchspaces.mixers.inception_mixer import InceptionMixer
from searchspaces.mixers.rep_mixer import RepMixer
from searchspaces.mixers.scale_aware_modulation import ScaleAwareModulation
from searchspaces.mixers.simplified_linear_attention import SimplifiedLinearAttention
from tests.searchspaces.mixers.twins import (
    assert_equal_in_value_and_gradient,
    attended,
    depthwise,
    image_of,
    per_head,
    positions,
)


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


def pointwise(layer: Any, x: Tensor) -> Tensor:
    """A 1 x 1 convolution as a sum over channels."""
    matrix = layer.weight[:, :, 0, 0]
    outputs = [sum(matrix[o, i] * x[:, i] for i in range(x.shape[1])) for o in range(len(matrix))]
    constants = torch.zeros(len(matrix)) if layer.bias is None else layer.bias
    return torch.stack([y + constant for y, constant in zip(outputs, constants, strict=True)], 1)


def parts(channels: int, share: float) -> tuple[list[int], list[int], list[int]]:
    """Low, pooled and convolved channels by counting up."""
    low, high = [], []
    for channel in range(channels):
        (low if int((channel + 1) * share) > len(low) else high).append(channel)
    return low, high[::2], high[1::2]


def low_resolution(part: InceptionMixer, module: Any, x: Tensor) -> Tensor:
    """Attention between the means of windows, copied to each position of the window."""
    size, asked = x.shape[2:], (part.pool if isinstance(part.pool, tuple) else (part.pool, part.pool))
    cells: dict[Any, list[Any]] = {}
    for p in positions(size):
        cells.setdefault((p[0] // min(asked[0], size[0]), p[1] // min(asked[1], size[1])), []).append(p)
    means = {cell: torch.stack([x[:, :, i, j] for i, j in members]).mean(0) for cell, members in cells.items()}
    pixels = {}
    for cell, members in cells.items():
        layer = module.attention
        keys, values = ([project(mean) for mean in means.values()] for project in (layer.key, layer.value))
        query, slices = layer.query(means[cell]), per_head(part.head_width, part.heads)
        heads = [attended(query[:, s], [k[:, s] for k in keys], [v[:, s] for v in values]) for s in slices]
        pixels |= dict.fromkeys(members, layer.output(torch.cat(heads, 1)))
    return image_of([pixels[p] for p in positions(size)], x)


def inception(part: InceptionMixer) -> Any:
    def twin(module: Any, x: Tensor) -> Tensor:
        low, pooled, convolved = parts(x.shape[1], part.low_share)
        rows, columns = part.kernel if isinstance(part.kernel, tuple) else (part.kernel, part.kernel)
        mixed = torch.zeros_like(x)
        if low:
            mixed[:, low] = low_resolution(part, module.attended, x[:, low])
        if pooled:
            padded = F.pad(x[:, pooled], (columns // 2,) * 2 + (rows // 2,) * 2, value=-torch.inf)
            mixed[:, pooled] = pointwise(module.pooled[1], padded.unfold(2, rows, 1).unfold(3, columns, 1).amax((4, 5)))
        if convolved:
            line, local = module.convolved
            mixed[:, convolved] = depthwise(pointwise(line, x[:, convolved]), local.weight, local.bias)
        return pointwise(module.output, mixed + depthwise(mixed, module.local.weight, module.local.bias))

    return twin


@pytest.mark.parametrize(
    ("fields", "shape"),
    [
        ({"low_share": 0.4}, (7, 5, 3)),
        ({"low_share": 0.0, "kernel": (1, 5)}, (3, 4, 5)),
        ({"low_share": 1.0, "pool": (3, 2)}, (2, 5, 4)),
        ({"low_share": 0.7, "pool": 4}, (5, 3, 6)),
        ({"low_share": 0.5}, (1, 2, 2)),
    ],
)
def test_the_inception_mixer_equals_its_loops(fields: Any, shape: Any) -> None:
    part = InceptionMixer(heads=2, head_width=2, **fields)
    assert_equal_in_value_and_gradient(part.build(shape), inception(part), shape)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_a_channel_keeps_its_part_at_every_width(share: float) -> None:
    wide = [set(group) for group in parts(32, share)]
    for channels in range(1, 32):
        module: Any = InceptionMixer(low_share=share).build((channels, 2, 2))
        groups = module.order.split(module.widths)
        assert [set(group.tolist()) for group in groups] == [group & set(range(channels)) for group in wide]


def trained(module: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """The module in evaluation mode, with random parameters and the statistics of a few batches."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, 0.5, 0.5)
    for _ in range(3):
        module(1 + 2 * torch.randn(4, *shape))
    return module.eval()


@pytest.mark.parametrize("fields", [{}, {"kernel": 7, "branches": 3}, {"kernel": 1, "branches": 2}])
@pytest.mark.parametrize("shape", [(5, 7, 6), (3, 2, 1), (1, 1, 3)])
def test_rep_mixer_is_one_depthwise_convolution(fields: Any, shape: Any) -> None:
    module: Any = trained(RepMixer(**fields).build(shape), shape)
    fused, x = module.fuse(), torch.randn(2, *shape)
    assert isinstance(fused, nn.Conv2d) and fused.groups == shape[0]
    assert fused.kernel_size == (module.branches[0].convolution.kernel_size)
    torch.testing.assert_close(fused(x), module(x), rtol=1e-10, atol=1e-10)
    rough = module.float()
    torch.testing.assert_close(rough.fuse()(x.float()), rough(x.float()), rtol=1e-5, atol=1e-5)


def test_rep_mixer_is_its_sum_of_normalized_branches() -> None:
    module: Any = trained(RepMixer(kernel=3, branches=2).build((2, 4, 5)), (2, 4, 5)).train()

    def normalized(norm: Any, y: Tensor) -> Tensor:
        mean, variance = y.mean((0, 2, 3), keepdim=True), y.var((0, 2, 3), unbiased=False, keepdim=True)
        scale, shift = norm.weight[:, None, None], norm.bias[:, None, None]
        return (y - mean) / (variance + norm.eps).sqrt() * scale + shift

    def twin(module: Any, x: Tensor) -> Tensor:
        mixed = normalized(module.identity, x) - normalized(module.norm, x)
        for branch in module.branches:
            mixed = mixed + normalized(branch.norm, depthwise(x, branch.convolution.weight))
        return module.scale * mixed

    assert len(module.branches) == 3
    assert_equal_in_value_and_gradient(module, twin, (2, 4, 5), tolerance=1e-10)


def test_rep_mixer_starts_as_almost_nothing() -> None:
    x = torch.randn(2, 3, 4, 4)
    assert RepMixer().build((3, 4, 4))(x).abs().max() < 1e-3


@pytest.mark.parametrize(
    ("kernels", "channels"), [((3, 5, 7, 9), 8), ((1, 3), 5), ((3, 5, 7), 4), ((5,), 3), ((3, 5), 1)]
)
def test_scale_aware_modulation_equals_scipy(kernels: Any, channels: int) -> None:
    """scipy's correlation, channel by channel, and the two aggregations as sums over index lists."""
    module: Any = trained(ScaleAwareModulation(kernels=kernels).build((channels, 5, 6)), (channels, 5, 6))
    x, n = torch.randn(1, channels, 5, 6), len(kernels)
    with torch.no_grad():
        scaled, scales = pointwise(module.scale, x)[0].numpy(), []
        for c, image in enumerate(scaled):
            layer = module.heads[c % n]
            kernel = layer.weight[c // n, 0].numpy()
            scales.append(correlate(image, kernel, mode="constant") + layer.bias[c // n].item())
        hidden = []
        for c in range(2 * len(scaled)):
            first = c // (2 * n) * n
            weights = module.within.weight[c, :, 0, 0].numpy()
            hidden.append(sum(weights[i] * scales[first + i] for i in range(n)) + module.within.bias[c].item())
        norm, y = module.norm, torch.from_numpy(np.stack(hidden))[None]
        y = F.batch_norm(y, norm.running_mean, norm.running_var, norm.weight, norm.bias)
        expected = pointwise(module.output, pointwise(module.across, F.gelu(y)) * pointwise(module.value, x))
        torch.testing.assert_close(module(x), expected, rtol=1e-11, atol=1e-11)


def additive(module: Any, x: Tensor) -> Tensor:
    def context(stages: Any, z: Tensor) -> Tensor:
        spatial, channel = stages
        y = depthwise(z, spatial.local.weight, spatial.local.bias)
        mean, variance = spatial.norm.running_mean[:, None, None], spatial.norm.running_var[:, None, None]
        y = (y - mean) / (variance + spatial.norm.eps).sqrt() * spatial.norm.weight[:, None, None]
        y = (y + spatial.norm.bias[:, None, None]).clamp(min=0)
        z = z / (1 + (-pointwise(spatial.gate, y)).exp())
        means = torch.stack([z[:, :, i, j] for i, j in positions(z.shape[2:])]).mean(0)[:, :, None, None]
        return z / (1 + (-pointwise(channel.gate, means)).exp())

    similarity = context(module.query_context, pointwise(module.query, x))
    similarity = similarity + context(module.key_context, pointwise(module.key, x))
    weights = depthwise(similarity, module.similarity.weight, module.similarity.bias)
    return depthwise(weights * pointwise(module.value, x), module.output.weight, module.output.bias)


@pytest.mark.parametrize(("kernel", "shape"), [(3, (3, 5, 4)), ((1, 5), (2, 3, 7)), (5, (1, 1, 2))])
def test_additive_attention_equals_its_equations(kernel: Any, shape: Any) -> None:
    module = trained(AdditiveAttention(kernel=kernel).build(shape), shape)
    assert_equal_in_value_and_gradient(module, additive, shape)


def rectified(part: SimplifiedLinearAttention) -> Any:
    """Quadratic in the positions: weights relu(q) relu(k) one by one."""

    def twin(module: Any, x: Tensor) -> Tensor:
        places = positions(x.shape[2:])
        query, key = (pointwise(layer, x).clamp(min=0) for layer in (module.query, module.key))
        value, pixels = pointwise(module.value, x), []
        for p in places:
            heads = []
            for s in per_head(part.head_width, part.heads):
                weights = [(query[:, s, p[0], p[1]] * key[:, s, i, j]).sum(1, keepdim=True) for i, j in places]
                total = torch.stack(weights).sum(0) + 1e-6
                terms = [w / total * value[:, s, i, j] for w, (i, j) in zip(weights, places, strict=True)]
                heads.append(torch.stack(terms).sum(0))
            pixels.append(torch.cat(heads, 1))
        return pointwise(module.output, image_of(pixels, x) + depthwise(value, module.local.weight, module.local.bias))

    return twin


@pytest.mark.parametrize(("kernel", "shape"), [(5, (3, 3, 4)), ((3, 1), (2, 5, 2))])
def test_simplified_linear_attention_equals_the_quadratic_sum(kernel: Any, shape: Any) -> None:
    part = SimplifiedLinearAttention(heads=2, head_width=3, kernel=kernel)
    module: Any = part.build(shape)
    nn.init.constant_(module.query.bias, 1.0)
    nn.init.constant_(module.key.bias, 1.0)
    assert_equal_in_value_and_gradient(module, rectified(part), shape, tolerance=1e-10)


def test_the_local_path_of_simplified_linear_attention_is_there_without_any_attention() -> None:
    module: Any = SimplifiedLinearAttention(heads=1, head_width=2).build((2, 5, 5))
    nn.init.constant_(module.query.bias, -100.0)
    x = torch.randn(1, 2, 5, 5)
    expected = pointwise(module.output, depthwise(pointwise(module.value, x), module.local.weight, module.local.bias))
    torch.testing.assert_close(module(x), expected, rtol=1e-12, atol=1e-12)


def ffnified(module: Any, x: Tensor) -> Tensor:
    def normalized(layer: Any, y: Tensor) -> Tensor:
        mean, variance = layer.norm.running_mean[:, None, None], layer.norm.running_var[:, None, None]
        y = (y - mean) / (variance + layer.norm.eps).sqrt()
        return y * layer.norm.weight[:, None, None] + layer.norm.bias[:, None, None]

    def static(layer: Any, y: Tensor) -> Tensor:
        branches = [branch for branch in (layer.large, layer.small) if branch is not None]
        found = [normalized(branch, depthwise(y, branch.convolution.weight)) for branch in branches]
        return torch.stack(found).sum(0)

    query = normalized(module.query, pointwise(module.query.convolution, x))
    return static(module.value, F.gelu(static(module.key, query)))


@pytest.mark.parametrize(("kernels", "shape"), [((7, 5), (3, 5, 4)), ((3, 1), (2, 2, 3)), ((1, 9), (1, 4, 1))])
def test_ffnified_attention_equals_its_equation_and_merges(kernels: Any, shape: Any) -> None:
    part = FfnifiedAttention(key_kernel=kernels[0], value_kernel=kernels[1])
    module: Any = trained(part.build(shape), shape)
    assert_equal_in_value_and_gradient(module, ffnified, shape, tolerance=1e-10)
    fused, x = module.fuse(), torch.randn(2, *shape)
    assert [type(layer) for layer in fused] == [nn.Conv2d, nn.Conv2d, nn.GELU, nn.Conv2d]
    torch.testing.assert_close(fused(x), module(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("part_class", "fields"),
    [
        (FfnifiedAttention, {"key_kernel": 4}),
        (FfnifiedAttention, {"value_kernel": 0}),
        (InceptionMixer, {"low_share": 1.5}),
        (InceptionMixer, {"pool": 0}),
        (InceptionMixer, {"kernel": 2}),
        (RepMixer, {"kernel": 2}),
        (RepMixer, {"branches": 0}),
        (ScaleAwareModulation, {"kernels": ()}),
        (ScaleAwareModulation, {"kernels": (3, 4)}),
        (ScaleAwareModulation, {"expansion": 0}),
        (AdditiveAttention, {"kernel": 0}),
        (SimplifiedLinearAttention, {"heads": 0}),
    ],
)
def test_values_out_of_bounds_are_refused(part_class: Any, fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        part_class(**fields)
