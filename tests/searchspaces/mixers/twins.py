"""Comparison of a module with its definition written as loops, and pieces of such definitions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn


def label(value: object) -> str:
    """The name of a test's parameter: that of a function, else its text; the same in every process."""
    return str(getattr(value, "__name__", value))


def assert_equal_in_value_and_gradient(
    module: nn.Module, twin: Callable[[Any, Tensor], Tensor], shape: tuple[int, ...], tolerance: float = 1e-11
) -> None:
    """Compares module(x) with twin(module, x) on two random samples, and the gradients of x and of all parameters."""
    x = torch.randn(2, *shape, requires_grad=True)
    value, expected = module(x), twin(module, x)
    torch.testing.assert_close(value, expected, rtol=tolerance, atol=tolerance)
    direction, leaves = torch.randn_like(value), [x, *module.parameters()]
    gradients, wanted = (torch.autograd.grad(y, leaves, direction, allow_unused=True) for y in (value, expected))
    for gradient, want, leaf in zip(gradients, wanted, leaves, strict=True):
        gradient, want = (torch.zeros_like(leaf) if g is None else g for g in (gradient, want))
        torch.testing.assert_close(gradient, want, rtol=tolerance, atol=tolerance)


def positions(size: Iterable[int]) -> list[tuple[int, ...]]:
    """All positions of an image, row by row."""
    return list(itertools.product(*map(range, size)))


def attended(query: Tensor, keys: list[Tensor], values: list[Tensor], biases: list[Tensor] | None = None) -> Tensor:
    """softmax(q k^T / sqrt(d) + bias) v for one head's query [b d], term by term."""
    scores = [(query * key).sum(1, keepdim=True) / math.sqrt(query.shape[1]) for key in keys]
    scores = [score + bias for score, bias in zip(scores, biases or [torch.zeros(())] * len(keys), strict=True)]
    total = torch.stack([score.exp() for score in scores]).sum(0)
    weighted = [score.exp() / total * value for score, value in zip(scores, values, strict=True)]
    return torch.stack(weighted).sum(0)


def per_head(width: int, heads: int) -> list[slice]:
    """The slices of an inner axis that belong to each head."""
    return [slice(head * width, (head + 1) * width) for head in range(heads)]


def image_of(pixels: list[Tensor], x: Tensor) -> Tensor:
    """[b c h w] from the features [b c] of each position, row by row."""
    return torch.stack(pixels, 2).reshape(len(x), -1, *x.shape[2:])


def depthwise(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Every channel of [b c h w] convolved with its own kernel [c 1 k l], tap by tap; zero outside."""
    (height, width), (rows, columns) = x.shape[2:], weight.shape[2:]
    y = torch.zeros_like(x) if bias is None else bias[:, None, None].expand(x.shape).clone()
    for i, j, u, v in itertools.product(range(height), range(width), range(rows), range(columns)):
        above, left = i + u - rows // 2, j + v - columns // 2
        if 0 <= above < height and 0 <= left < width:
            y[:, :, i, j] = y[:, :, i, j] + weight[:, 0, u, v] * x[:, :, above, left]
    return y
