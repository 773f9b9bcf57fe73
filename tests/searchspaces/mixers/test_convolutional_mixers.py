"""Mixers built of convolutions, pooling and gates: their equations term by term, and what merges into one layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers.additive_attention import AdditiveAttention
from searchspaces.mixers.ffnified_attention import FfnifiedAttention
from searchspaces.mixers.inception_mixer import InceptionMixer
from searchspaces.mixers.rep_mixer import RepMixer
from searchspaces.mixers.scale_aware_modulation import ScaleAwareModulation
from searchspaces.mixers.simplified_linear_attention import SimplifiedLinearAttention
from tests.searchspaces.twins import (
    batch_normalized,
    cells,
    depthwise,
    image_of,
    pair,
    per_head,
    pointwise,
    positions,
    projected,
    randomized,
    twin_of,
)


def parts(channels: int, share: float) -> tuple[list[int], list[int], list[int]]:
    """Low, pooled and convolved channels by counting up."""
    low, high = [], []
    for channel in range(channels):
        (low if int((channel + 1) * share) > len(low) else high).append(channel)
    return low, high[::2], high[1::2]


def low_resolution(part: InceptionMixer, module: Any, x: Tensor) -> Tensor:
    """Attention between the means of windows, copied to each position of the window."""
    windows = list(cells(x.shape[2:], pair(part.pool)).values())
    means = [torch.stack([x[:, :, i, j] for i, j in members]).mean(0) for members in windows]
    pixels: dict[Any, Tensor] = {}
    for mean, members in zip(means, windows, strict=True):
        pixels |= dict.fromkeys(members, projected(module.attention, part, mean, means))
    return image_of([pixels[p] for p in positions(x.shape[2:])], x)


@twin_of(
    (InceptionMixer(heads=2, head_width=2, low_share=0.4), (7, 5, 3)),
    (InceptionMixer(low_share=0.0, kernel=(1, 5)), (3, 4, 5)),
    (InceptionMixer(heads=2, head_width=2, low_share=1.0, pool=(3, 2)), (2, 5, 4)),
    (InceptionMixer(heads=2, head_width=2, low_share=0.7, pool=4), (5, 3, 6)),
    (InceptionMixer(heads=2, head_width=2, low_share=0.5), (1, 2, 2)),
)
def inception(part: InceptionMixer, module: Any, x: Tensor) -> Tensor:
    low, pooled, convolved = parts(x.shape[1], part.low_share)
    rows, columns = pair(part.kernel)
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


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_a_channel_keeps_its_part_at_every_width(share: float) -> None:
    wide = [set(group) for group in parts(32, share)]
    for channels in range(1, 32):
        module: Any = InceptionMixer(low_share=share).build((channels, 2, 2))
        groups = module.order.split(module.widths)
        assert [set(group.tolist()) for group in groups] == [group & set(range(channels)) for group in wide]


@pytest.mark.parametrize("fields", [{}, {"kernel": 7, "branches": 3}, {"kernel": 1, "branches": 2}])
@pytest.mark.parametrize("shape", [(5, 7, 6), (3, 2, 1), (1, 1, 3)])
def test_rep_mixer_is_one_depthwise_convolution(fields: Any, shape: Any) -> None:
    module: Any = randomized(RepMixer(**fields).build(shape))
    fused, x = module.fuse(), torch.randn(2, *shape)
    assert isinstance(fused, nn.Conv2d) and fused.groups == shape[0]
    assert fused.kernel_size == (module.branches[0].convolution.kernel_size)
    torch.testing.assert_close(fused(x), module(x), rtol=1e-10, atol=1e-10)
    rough = module.float()
    torch.testing.assert_close(rough.fuse()(x.float()), rough(x.float()), rtol=1e-5, atol=1e-5)


@twin_of(
    (RepMixer(kernel=3, branches=2), (2, 4, 5)), prepare=lambda module: randomized(module).train(), tolerance=1e-10
)
def rep_mixer(part: RepMixer, module: Any, x: Tensor) -> Tensor:
    """The sum of the branches, normalized by the batch."""

    def normalized(norm: Any, y: Tensor) -> Tensor:
        mean, variance = y.mean((0, 2, 3), keepdim=True), y.var((0, 2, 3), unbiased=False, keepdim=True)
        scale, shift = norm.weight[:, None, None], norm.bias[:, None, None]
        return (y - mean) / (variance + norm.eps).sqrt() * scale + shift

    mixed = normalized(module.identity, x) - normalized(module.norm, x)
    for branch in module.branches:
        mixed = mixed + normalized(branch.norm, depthwise(x, branch.convolution.weight))
    assert len(module.branches) == part.branches + (max(pair(part.kernel)) > 1)
    return module.scale * mixed


def test_rep_mixer_starts_as_almost_nothing() -> None:
    x = torch.randn(2, 3, 4, 4)
    assert RepMixer().build((3, 4, 4))(x).abs().max() < 1e-3


@pytest.mark.oracle("scale_aware_modulation")
@pytest.mark.parametrize(
    ("kernels", "channels"), [((3, 5, 7, 9), 8), ((1, 3), 5), ((3, 5, 7), 4), ((5,), 3), ((3, 5), 1)]
)
def test_scale_aware_modulation_equals_scipy(kernels: Any, channels: int) -> None:
    """scipy's correlation, channel by channel, and the two aggregations as sums over index lists."""
    module: Any = randomized(ScaleAwareModulation(kernels=kernels).build((channels, 5, 6)))
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
        y = batch_normalized(module.norm, torch.from_numpy(np.stack(hidden))[None])
        expected = pointwise(module.output, pointwise(module.across, F.gelu(y)) * pointwise(module.value, x))
        torch.testing.assert_close(module(x), expected, rtol=1e-11, atol=1e-11)


@twin_of(
    *(
        (ScaleAwareModulation(kernels=kernels), shape)
        for kernels, shape in [((3, 5, 7, 9), (8, 3, 2)), ((1, 3), (5, 2, 3)), ((5,), (1, 4, 3))]
    ),
)
def scale_aware(part: ScaleAwareModulation, module: Any, x: Tensor) -> Tensor:
    """Each channel with the kernel of its head, each group of hidden channels from one channel of each head."""
    scaled, heads, scales, hidden = pointwise(module.scale, x), len(part.kernels), [], []
    for c, image in enumerate(scaled.unbind(1)):
        layer, place = module.heads[c % heads], c // heads
        scales.append(depthwise(image[:, None], layer.weight[[place]], layer.bias[[place]])[:, 0])
    for c, weights in enumerate(module.within.weight[:, :, 0, 0]):
        group = scales[c // (part.expansion * heads) * heads :][:heads]
        hidden.append(sum(weight * scale for weight, scale in zip(weights, group, strict=True)) + module.within.bias[c])
    modulator = pointwise(module.across, F.gelu(batch_normalized(module.norm, torch.stack(hidden, 1))))
    return pointwise(module.output, modulator * pointwise(module.value, x))


@twin_of(
    (AdditiveAttention(kernel=3), (3, 5, 4)),
    (AdditiveAttention(kernel=(1, 5)), (2, 3, 7)),
    (AdditiveAttention(kernel=5), (1, 1, 2)),
)
def additive(part: Any, module: Any, x: Tensor) -> Tensor:
    def context(stages: Any, z: Tensor) -> Tensor:
        spatial, channel = stages
        y = depthwise(z, spatial.local.weight, spatial.local.bias)
        y = batch_normalized(spatial.norm, y).clamp(min=0)
        z = z / (1 + (-pointwise(spatial.gate, y)).exp())
        means = torch.stack([z[:, :, i, j] for i, j in positions(z.shape[2:])]).mean(0)[:, :, None, None]
        return z / (1 + (-pointwise(channel.gate, means)).exp())

    similarity = context(module.query_context, pointwise(module.query, x))
    similarity = similarity + context(module.key_context, pointwise(module.key, x))
    weights = depthwise(similarity, module.similarity.weight, module.similarity.bias)
    return depthwise(weights * pointwise(module.value, x), module.output.weight, module.output.bias)


def positive(module: Any) -> Any:
    """Some queries and keys remain after their ReLU."""
    for bias in (module.query.bias, module.key.bias):
        nn.init.constant_(bias, 1.0)
    return module


@twin_of(
    (SimplifiedLinearAttention(heads=2, head_width=3, kernel=5), (3, 3, 4)),
    (SimplifiedLinearAttention(heads=2, head_width=3, kernel=(3, 1)), (2, 5, 2)),
    prepare=positive,
    tolerance=1e-10,
)
def rectified(part: SimplifiedLinearAttention, module: Any, x: Tensor) -> Tensor:
    """Quadratic in the positions: weights relu(q) relu(k) one by one."""
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


def test_the_local_path_of_simplified_linear_attention_is_there_without_any_attention() -> None:
    module: Any = SimplifiedLinearAttention(heads=1, head_width=2).build((2, 5, 5))
    nn.init.constant_(module.query.bias, -100.0)
    x = torch.randn(1, 2, 5, 5)
    expected = pointwise(module.output, depthwise(pointwise(module.value, x), module.local.weight, module.local.bias))
    torch.testing.assert_close(module(x), expected, rtol=1e-12, atol=1e-12)


@twin_of(
    (FfnifiedAttention(key_kernel=7, value_kernel=5), (3, 5, 4)),
    (FfnifiedAttention(key_kernel=3, value_kernel=1), (2, 2, 3)),
    (FfnifiedAttention(key_kernel=1, value_kernel=9), (1, 4, 1)),
    tolerance=1e-10,
)
def ffnified(part: Any, module: Any, x: Tensor) -> Tensor:
    def static(layer: Any, y: Tensor) -> Tensor:
        branches = [branch for branch in (layer.large, layer.small) if branch is not None]
        found = [batch_normalized(branch.norm, depthwise(y, branch.convolution.weight)) for branch in branches]
        return torch.stack(found).sum(0)

    query = batch_normalized(module.query.norm, pointwise(module.query.convolution, x))
    return static(module.value, F.gelu(static(module.key, query)))


@pytest.mark.parametrize(("kernels", "shape"), [((7, 5), (3, 5, 4)), ((3, 1), (2, 2, 3)), ((1, 9), (1, 4, 1))])
def test_ffnified_attention_merges_into_plain_layers(kernels: Any, shape: Any) -> None:
    part = FfnifiedAttention(key_kernel=kernels[0], value_kernel=kernels[1])
    module: Any = randomized(part.build(shape))
    fused, x = module.fuse(), torch.randn(2, *shape)
    assert [type(layer) for layer in fused] == [nn.Conv2d, nn.Conv2d, nn.GELU, nn.Conv2d]
    torch.testing.assert_close(fused(x), module(x), rtol=1e-10, atol=1e-10)
