"""Operators whose kernels depend on the features: their definitions as loops, and other libraries' bilinear reads."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from scipy.ndimage import map_coordinates
from torch import Tensor
from torch.nn import functional as F

from hardware.onnx_model import export_onnx
from searchspaces.cost import module_cost
from searchspaces.mixers.conditional_convolution import ConditionalConvolution
from searchspaces.mixers.deformable_convolution import DeformableConvolution
from searchspaces.mixers.dynamic_convolution import DynamicConvolution
from searchspaces.mixers.hyper_zzw import HyperZzw
from searchspaces.mixers.involution import Involution
from searchspaces.mixers.lightweight_convolution import LightweightConvolution
from tests.searchspaces.twins import (
    pair,
    randomized,
    twin_of,
)


@twin_of(
    *itertools.product(
        [ConditionalConvolution(), ConditionalConvolution(kernel=(1, 5), experts=2)], [(3, 5, 4), (1, 2, 7), (5, 1, 1)]
    ),
)
def conditional(part: Any, module: Any, x: Tensor) -> Tensor:
    """One convolution after the other, each with its sample's mixture of experts."""
    samples = []
    for sample in x:
        shares = torch.sigmoid(module.routing.weight @ sample.mean((1, 2)) + module.routing.bias)
        weight = sum(share * expert for share, expert in zip(shares, module.weight, strict=True))
        bias = sum(share * expert for share, expert in zip(shares, module.bias, strict=True))
        samples.append(F.conv2d(sample[None], weight, bias, padding=module.padding)[0])
    return torch.stack(samples)


@pytest.mark.parametrize("shape", [(3, 5, 4), (1, 2, 7), (5, 1, 1)])
@pytest.mark.parametrize("part", [ConditionalConvolution(), ConditionalConvolution(kernel=(1, 5), experts=2)])
def test_the_inference_form_of_a_conditional_convolution_is_the_same(part: Any, shape: Any) -> None:
    module, x = randomized(part.build(shape)), torch.randn(4, *shape)
    torch.testing.assert_close(module.fuse()(x), module(x), rtol=1e-10, atol=1e-11)


def test_the_inference_form_multiplies_as_often_as_the_convolution() -> None:
    with torch.device("meta"):
        module: Any = ConditionalConvolution(experts=8).build((6, 9, 7))
        costs = [module_cost(form, (6, 9, 7)).macs for form in (module, module.fuse())]
    assert costs[0] == costs[1]


def test_one_exported_conditional_convolution_takes_every_batch(tmp_path: Path) -> None:
    torch.set_default_dtype(torch.float32)
    shape = (5, 7, 6)
    module: Any = randomized(ConditionalConvolution().build(shape))
    export_onnx(module.fuse(), shape, tmp_path / "mixed.onnx", batch_size=None)
    session = onnxruntime.InferenceSession(tmp_path / "mixed.onnx", providers=["CPUExecutionProvider"])
    for batch in (1, 2, 5):
        x = torch.randn(batch, *shape)
        (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        torch.testing.assert_close(torch.from_numpy(found), module(x), rtol=1e-5, atol=1e-5)


def generated(projection: Any, token: Tensor) -> Tensor:
    """Kernels [b n k] of the tokens [b c] at one position."""
    weight = projection.weight.flatten(2)
    kernels = torch.einsum("bc,nck->bnk", token, weight)
    return kernels if projection.bias is None else kernels + projection.bias.flatten(1)


@twin_of(
    *itertools.product(
        [Involution(kernel=(3, 1), group_width=2), Involution(kernel=(3, 3), dilation=2, group_width=3, reduction=1)],
        [(5, 3, 4), (2, 4, 1)],
    ),
)
def involution(part: Involution, module: Any, x: Tensor) -> Tensor:
    (rows, columns), (down, right) = pair(part.kernel), pair(part.dilation)
    (height, width), hidden = x.shape[2:], F.relu(module.norm(module.reduce(x)))
    y = torch.zeros_like(x)
    for i, j in itertools.product(range(height), range(width)):
        kernels = generated(module.span, hidden[:, :, i, j]).unflatten(2, (rows, columns))
        for c, u, v in itertools.product(range(x.shape[1]), range(rows), range(columns)):
            above, left = i + down * (u - rows // 2), j + right * (v - columns // 2)
            if 0 <= above < height and 0 <= left < width:
                y[:, c, i, j] = y[:, c, i, j] + kernels[:, c // part.group_width, u, v] * x[:, c, above, left]
    return y


@twin_of(
    *(
        (kind(kernel=5, heads=2, head_width=3, causal=causal), shape)
        for kind, causal, shape in itertools.product(
            [LightweightConvolution, DynamicConvolution], [False, True], [(3, 7), (2, 1), (4, 2)]
        )
    ),
)
def over_time(part: Any, module: Any, x: Tensor) -> Tensor:
    """Means over the neighbours of one step after the other."""
    tokens = x.transpose(1, 2)
    values = module.input.value(tokens) * module.input.gate(tokens).sigmoid()
    steps = []
    for t in range(x.shape[2]):
        lightweight = isinstance(part, LightweightConvolution)
        kernels = (module.weight[None, :, 0] if lightweight else generated(module.kernels, values[:, t])).exp()
        kernels = kernels / kernels.sum(2, keepdim=True)
        mixed = torch.zeros_like(values[:, t]).unflatten(1, (part.heads, -1))
        for k in range(part.kernel):
            other = t + k - (part.kernel - 1 if part.causal else part.kernel // 2)
            if 0 <= other < x.shape[2]:
                near = values[:, other].unflatten(1, (part.heads, -1))
                mixed = mixed + kernels[:, :, k : k + 1] * near
        steps.append(module.output(mixed.flatten(1)))
    return torch.stack(steps, 2)


@pytest.mark.parametrize("part_class", [LightweightConvolution, DynamicConvolution])
def test_causal_outputs_do_not_see_what_comes_later(part_class: Any) -> None:
    module = randomized(part_class(kernel=3, causal=True).build((4, 9)))
    x = torch.randn(1, 4, 9, requires_grad=True)
    (gradient,) = torch.autograd.grad(module(x)[..., 4].sum(), x)
    seen = gradient.abs().sum((0, 1)) > 0
    assert seen.tolist() == [2 <= t <= 4 for t in range(9)]


def deformable_inputs(part: DeformableConvolution, module: Any, x: np.ndarray) -> Iterator[Any]:
    """Position, group, tap, and row, column and weight of its sampling point for one sample."""
    rows, columns = part.kernel  # type: ignore[misc]
    for i, j in itertools.product(range(x.shape[1]), range(x.shape[2])):
        token = torch.from_numpy(x[None, :, i, j])
        down, right, weight = (
            generated(layer, token)[0].detach().numpy() for layer in (module.down, module.right, module.modulation)
        )
        for g, (k, (u, v)) in itertools.product(
            range(part.groups), enumerate(itertools.product(range(rows), range(columns)))
        ):
            row = i + 2 * (u - rows // 2) + down[g, k]
            column = j + 2 * (v - columns // 2) + right[g, k]
            yield (i, j), g, row, column, weight[g, k]


@pytest.mark.oracle("deformable_convolution")
@pytest.mark.parametrize("shape", [(3, 5, 4), (2, 1, 3), (4, 1, 1)])
def test_deformable_convolution_reads_between_pixels_as_scipy_does(shape: Any) -> None:
    part = DeformableConvolution(kernel=(3, 1), dilation=2, groups=2, group_width=3)
    module, x = randomized(part.build(shape)), torch.randn(1, *shape)
    values = module.value(x.permute(0, 2, 3, 1))[0].detach().numpy()
    mixed = np.zeros_like(values)
    for (i, j), g, row, column, weight in deformable_inputs(part, module, x[0].numpy()):
        for c in range(3 * g, 3 * g + 3):
            read = map_coordinates(values[..., c], [[row], [column]], order=1, mode="grid-constant", cval=0.0)
            mixed[i, j, c] += weight * read[0]
    expected = module.output(torch.from_numpy(mixed)).permute(2, 0, 1)
    torch.testing.assert_close(module(x)[0], expected, rtol=1e-10, atol=1e-11)


@twin_of(
    (DeformableConvolution(groups=2, group_width=2), (3, 5, 4)),
    (DeformableConvolution(groups=2, group_width=2), (2, 2, 7)),
    (DeformableConvolution(groups=2, group_width=2, kernel=(1, 3), dilation=(1, 2)), (2, 3, 5)),
    tolerance=1e-9,
)
def sampled(part: Any, module: Any, x: Tensor) -> Tensor:
    """torch's grid_sample at each point of each group, with gradients."""
    tokens, (height, width) = x.permute(0, 2, 3, 1), x.shape[2:]
    values = module.value(tokens).permute(0, 3, 1, 2)
    sizes, steps = pair(part.kernel), pair(part.dilation)
    taps = [[step * (tap - size // 2) for tap in range(size)] for size, step in zip(sizes, steps, strict=True)]
    outputs = []
    for g, group in enumerate(values.split(part.group_width, 1)):
        total = torch.zeros(())
        for k, (down, right) in enumerate(itertools.product(*taps)):
            rows = torch.arange(height)[:, None] + down + module.down(tokens)[..., g, k]
            columns = torch.arange(width) + right + module.right(tokens)[..., g, k]
            grid = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], -1)
            read = F.grid_sample(group, grid, "bilinear", "zeros", align_corners=False)
            total = total + module.modulation(tokens)[..., g, k][:, None] * read
        outputs.append(total)
    return module.output(torch.cat(outputs, 1).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def test_modulation_of_a_deformable_convolution_is_unbounded() -> None:
    """Without softmax twice the modulation is twice the output."""
    module = randomized(DeformableConvolution(groups=2, group_width=2).build((3, 5, 5)))
    x, offset = torch.randn(1, 3, 5, 5), module.output.bias[:, None, None]
    once = module(x) - offset
    for parameter in module.modulation.parameters():
        parameter.data *= 2
    torch.testing.assert_close(module(x) - offset, 2 * once)


def standardized(x: Tensor) -> Tensor:
    variance, mean = torch.var_mean(x, (2, 3), correction=0, keepdim=True)
    return (x - mean) / (variance + 1e-5).sqrt()


@twin_of(
    *((HyperZzw(kernels=(3, 1), hidden=3, layers=2), shape) for shape in [(2, 4, 4), (1, 3, 5), (2, 5, 2)]),
    tolerance=1e-9,
)
def hyper_zzw(part: Any, module: Any, x: Tensor) -> Tensor:
    """Both forms of the operator as loops over positions and taps."""
    (height, width), weights = x.shape[2:], module.everywhere()
    total = torch.zeros_like(x)
    for i, j, k in itertools.product(range(height), range(width), range(min(height, width))):
        total[:, :, i, j] = total[:, :, i, j] + weights[:, i, k] * x[:, :, i, k] * x[:, :, k, j]
    branches = [total]
    for kernel in (each() for each in module.nearby):
        size, local = kernel.shape[1], torch.zeros_like(x)
        for i, j, u, v in itertools.product(range(height), range(width), range(size), range(size)):
            above, left = i + u - size // 2, j + v - size // 2
            if 0 <= above < height and 0 <= left < width:
                context = kernel[:, u, v] * x[:, :, i, j]
                local[:, :, i, j] = local[:, :, i, j] + context * x[:, :, above, left]
        branches.append(local)
    fused = [compress(standardized(branch)) for compress, branch in zip(module.compress, branches, strict=True)]
    return torch.stack(fused).sum(0) + module.bias[:, None, None]
