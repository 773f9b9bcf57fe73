"""Naive twins: operators written out as loops. Their register, the comparison, and pieces of such loops.

A twin stands in the tests of its operator, is called with the part, its module and the input, and names the cases on
which `test_twins_conformance.py` compares it; the benchmark of the operators sets their speed against it.
"""

from __future__ import annotations

import importlib
import itertools
import math
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from searchspaces.part import Part

Compute = TypeVar("Compute", bound=Callable[[Any, Any, Tensor], Tensor])
Case = tuple[Any, tuple[int, ...]]
"""A part and the shape of a sample."""


@dataclass(frozen=True)
class Twin:
    """The definition of an operator: compute(part, module, x) equals module(x) for a module that is prepared."""

    compute: Callable[[Any, Any, Tensor], Tensor]
    prepare: Callable[[Any], Any]
    tolerance: float


TWINS: dict[type[Part], Twin] = {}
CASES: list[Case] = []


def randomized(module: Any) -> Any:
    """The module in evaluation mode, with parameters and statistics that are nothing special."""
    for parameter in module.parameters():
        parameter.data += 0.5 * torch.randn_like(parameter)
    for norm in module.modules():
        if isinstance(norm, _BatchNorm) and norm.running_mean is not None and norm.running_var is not None:
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 1.5)
    return module.eval()


def twin_of(
    *cases: Case, prepare: Callable[[Any], Any] = randomized, tolerance: float = 1e-11
) -> Callable[[Compute], Compute]:
    """Registers a function as the twin of the parts in its cases."""

    def register(compute: Compute) -> Compute:
        for kind in {type(part) for part, _ in cases}:
            assert kind not in TWINS, f"{kind.__name__} has a twin already"
            TWINS[kind] = Twin(compute, prepare, tolerance)
        CASES.extend(cases)
        return compute

    return register


def operators_tests() -> list[ModuleType]:
    """The test modules of all operators; with them their twins are registered."""
    found = [
        f"{folder}.{module.name}"
        for folder in (f"tests.searchspaces.{role}" for role in ("mixers", "channel_mixers", "gates"))
        for module in pkgutil.iter_modules(importlib.import_module(folder).__path__)
        if module.name.startswith("test_")
    ]
    return [importlib.import_module(name) for name in found]


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


def token_by_token(compute: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """[b c h w] from compute([c]) of each sample's features at each position."""
    return image_of([torch.stack([compute(sample[:, i, j]) for sample in x]) for i, j in positions(x.shape[2:])], x)


def depthwise(x: Tensor, weight: Tensor, bias: Tensor | None = None, step: int | tuple[int, int] = 1) -> Tensor:
    """Every channel of [b c h w] convolved with its own kernel [c 1 k l], tap by tap, `step` apart; zero outside."""
    (height, width), (rows, columns), (down, right) = x.shape[2:], weight.shape[2:], pair(step)
    y = torch.zeros_like(x) if bias is None else bias[:, None, None].expand(x.shape).clone()
    for i, j, u, v in itertools.product(range(height), range(width), range(rows), range(columns)):
        above, left = i + down * (u - rows // 2), j + right * (v - columns // 2)
        if 0 <= above < height and 0 <= left < width:
            y[:, :, i, j] = y[:, :, i, j] + weight[:, 0, u, v] * x[:, :, above, left]
    return y


def pair(value: int | tuple[int, int]) -> tuple[int, int]:
    """Both numbers of what may be written as one."""
    return value if isinstance(value, tuple) else (value, value)


def pointwise(layer: Any, x: Tensor) -> Tensor:
    """A 1 x 1 convolution as a sum over channels."""
    matrix = layer.weight[:, :, 0, 0]
    outputs = [sum(matrix[o, i] * x[:, i] for i in range(x.shape[1])) for o in range(len(matrix))]
    constants = torch.zeros(len(matrix)) if layer.bias is None else layer.bias
    return torch.stack([y + constant for y, constant in zip(outputs, constants, strict=True)], 1)


def batch_normalized(norm: Any, y: Tensor) -> Tensor:
    """Batch normalization of [b c ...] by the running statistics."""
    view = [-1, *[1] * (y.ndim - 2)]
    deviation = (norm.running_var + norm.eps).sqrt().view(view)
    return (y - norm.running_mean.view(view)) / deviation * norm.weight.view(view) + norm.bias.view(view)


def projected(layer: Any, part: Any, token: Tensor, context: list[Tensor], heads: int | None = None) -> Tensor:
    """Attention of one token [b c] to others, with the projections of a module."""
    query, keys, values = layer.query(token), [layer.key(c) for c in context], [layer.value(c) for c in context]
    found = [
        attended(query[:, s], [key[:, s] for key in keys], [value[:, s] for value in values])
        for s in per_head(part.head_width, heads or part.heads)
    ]
    return layer.output(torch.cat(found, 1))  # type: ignore[no-any-return]


def cells(size: Iterable[int], window: tuple[int, int]) -> dict[tuple[int, int], list[tuple[int, ...]]]:
    """The positions of each window of an image."""
    found: dict[tuple[int, int], list[tuple[int, ...]]] = {}
    size = tuple(size)
    for p in positions(size):
        found.setdefault((p[0] // min(window[0], size[0]), p[1] // min(window[1], size[1])), []).append(p)
    return found


def multiplications(part: Any, shape: tuple[int, ...]) -> int:
    """Multiply-accumulates of one sample, counted by torch on the meta device."""
    with torch.device("meta"):
        module, x = part.build(shape), torch.randn(1, *shape)
    with FlopCounterMode(display=False) as counter:
        module(x)
    return int(counter.get_total_flops()) // 2
