"""RepMLP against its definition in loops, and its fused form against itself."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from searchspaces.mixers.rep_mlp import DensePerceptron, RepMlp, TrainedPerceptron
from tests.searchspaces.twins import (
    label,
    randomized,
    twin_of,
)

CASES = [
    (RepMlp(window=2, group_width=2), (4, 4, 4)),
    (RepMlp(window=(2, 3), group_width=2, kernels=(1, 3)), (3, 5, 4)),
    (RepMlp(window=3, group_width=1, kernels=(5,)), (2, 3, 3)),
    (RepMlp(window=2, group_width=5, kernels=(), reduction=1.0), (3, 3, 2)),
]


def normalized(norm: Any, features: Tensor, axis: int) -> Tensor:
    """Batch normalization in evaluation mode, channels on an axis."""
    view = [-1 if number == axis else 1 for number in range(features.ndim)]
    mean, deviation = norm.running_mean.view(view), (norm.running_var + norm.eps).sqrt().view(view)
    return (features - mean) / deviation * norm.weight.view(view) + norm.bias.view(view)


def mapped(local: Any, part: Tensor) -> Tensor:
    """One partition [b c h w]: every output channel and position as a sum over the inputs of its group."""
    _, channels, rows, columns = part.shape
    width = local.dense.weight.shape[1]
    places = list(itertools.product(range(rows), range(columns)))
    layers = [(None, local.norm), *((branch.convolution.weight, branch.norm) for branch in local.branches)]
    total = torch.zeros_like(part)
    for kernel, norm in layers:
        output = torch.zeros_like(part)
        for o, (r, c), i, (u, v) in itertools.product(range(channels), places, range(width), places):
            source = part[:, o // width * width + i, u, v]
            if kernel is None:
                output[:, o, r, c] += local.dense.weight[o, i, r, c, u, v] * source
                continue
            half = kernel.shape[2] // 2
            down, right = u - r + half, v - c + half
            if 0 <= down < kernel.shape[2] and 0 <= right < kernel.shape[3]:
                output[:, o, r, c] += kernel[o, i, down, right] * source
        total = total + normalized(norm, output, 1)
    return total


@twin_of(
    *CASES,
    tolerance=1e-10,
)
def partitioned(part: Any, module: Any, x: Tensor) -> Tensor:
    (down, right), (rows, columns) = module.grid, module.window
    padded = torch.zeros(len(x), module.channels, down * rows, right * columns)
    padded[:, : x.shape[1], : x.shape[2], : x.shape[3]] = x
    cells = {}
    for i, j in itertools.product(range(down), range(right)):
        cells[i, j] = padded[:, :, i * rows : (i + 1) * rows, j * columns : (j + 1) * columns]
    if module.world is not None:
        norm, reduce, expand = module.world.norm, module.world.reduce, module.world.expand
        hidden = reduce.bias.expand(len(x), -1)
        for (i, j), cell in cells.items():
            hidden = hidden + normalized(norm, cell.mean((2, 3)), 1) @ reduce.weight[:, :, i, j].T
        hidden = hidden.clamp(min=0)
        for i, j in cells:
            added = hidden @ expand.weight[:, :, i, j] + expand.bias
            cells[i, j] = cells[i, j] + added[:, :, None, None]
    lines = [torch.cat([mapped(module.local, cells[i, j]) for j in range(right)], 3) for i in range(down)]
    return torch.cat(lines, 2)[:, : x.shape[1], : x.shape[2], : x.shape[3]]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=label)
@pytest.mark.parametrize(("part", "shape"), CASES, ids=label)
def test_the_fused_form_computes_the_same(part: RepMlp, shape: tuple[int, ...], dtype: Any, tolerance: float) -> None:
    module, x = randomized(part.build(shape)).to(dtype), torch.randn(3, *shape, dtype=dtype)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    fused = module.fuse()
    scale = module(x).abs().max().item()
    torch.testing.assert_close(fused(x), module(x), rtol=0, atol=tolerance * max(1, scale))
    assert isinstance(fused.local, DensePerceptron) and isinstance(module.local, TrainedPerceptron)
    assert not fused.training
    for name, tensor in module.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


def test_fusing_again_changes_nothing() -> None:
    module, x = randomized(RepMlp(window=2).build((4, 4, 4))), torch.randn(2, 4, 4, 4)
    once = module.fuse()
    torch.testing.assert_close(once.fuse()(x), once(x), rtol=0, atol=0)


def test_the_fused_form_has_no_branches() -> None:
    module = randomized(RepMlp(window=2, kernels=(1, 3, 5)).build((4, 2, 2)))
    assert not [layer for layer in module.fuse().modules() if isinstance(layer, nn.Conv2d | nn.BatchNorm2d)]


def test_one_partition_has_no_global_perceptron() -> None:
    assert randomized(RepMlp(window=4).build((4, 4, 4))).world is None
    assert randomized(RepMlp(window=4).build((4, 4, 5))).world is not None
