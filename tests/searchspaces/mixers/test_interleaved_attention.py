"""Local and global attention by turns, group by group and token by token."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers.interleaved_attention import InterleavedAttention
from tests.searchspaces.mixers.twins import (
    assert_equal_in_value_and_gradient,
    attended,
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


def attend(layer: Any, part: InterleavedAttention, token: Tensor, context: list[Tensor]) -> Tensor:
    """Attention of one token to others, with the projections of a module."""
    query, keys, values = layer.query(token), [layer.key(c) for c in context], [layer.value(c) for c in context]
    heads = [
        attended(query[:, s], [key[:, s] for key in keys], [value[:, s] for value in values])
        for s in per_head(part.head_width, part.heads)
    ]
    return layer.output(torch.cat(heads, 1))


def global_layer(layer: Any, part: InterleavedAttention, tokens: list[Tensor]) -> list[Tensor]:
    normalized = [layer.attention_norm(token) for token in tokens]
    tokens = [token + attend(layer.attention, part, n, normalized) for token, n in zip(tokens, normalized, strict=True)]
    return [token + layer.project(F.gelu(layer.expand(layer.perceptron_norm(token)))) for token in tokens]


def interleaved(part: InterleavedAttention) -> Any:
    def twin(module: Any, x: Tensor) -> Tensor:
        size, asked = x.shape[2:], part.window if isinstance(part.window, tuple) else (part.window, part.window)
        tokens, groups = {p: x[:, :, p[0], p[1]] for p in positions(size)}, {}
        for p in tokens:
            groups.setdefault((p[0] // min(asked[0], size[0]), p[1] // min(asked[1], size[1])), []).append(p)
        local = {
            p: attend(module.local, part, tokens[p], [tokens[q] for q in members])
            for members in groups.values()
            for p in members
        }
        data = {p: tokens[p] + local[p] for p in tokens}
        latents = []
        for members in groups.values():
            for row in module.latents:
                start = row.expand(len(x), -1)
                latents.append(start + attend(module.read, part, start, [data[q] for q in members]))
        for layer in module.layers:
            latents = global_layer(layer, part, latents)
        latents = [module.norm(latent) for latent in latents]
        outputs = {}
        for index, members in enumerate(groups.values()):
            own = latents[index * part.latents : (index + 1) * part.latents]
            outputs |= {p: local[p] + attend(module.write, part, data[p], own) for p in members}
        return image_of([outputs[p] for p in positions(size)], x)

    return twin


@pytest.mark.parametrize(
    ("fields", "shape"),
    [
        ({"window": 2, "latents": 2}, (3, 4, 2)),
        ({"window": 2, "latents": 1, "depth": 2}, (2, 3, 5)),
        ({"window": (1, 3), "latents": 3}, (2, 2, 4)),
        ({"window": 9, "latents": 2}, (2, 2, 3)),
    ],
)
def test_interleaved_attention_equals_its_loops(fields: Any, shape: Any) -> None:
    part = InterleavedAttention(heads=2, head_width=2, **fields)
    module: Any = part.build(shape)
    nn.init.normal_(module.latents)
    assert_equal_in_value_and_gradient(module, interleaved(part), shape, tolerance=1e-10)


def test_groups_meet_in_the_global_layers_alone() -> None:
    module: Any = InterleavedAttention(window=2, heads=1, head_width=4).build((2, 4, 4))
    x = torch.randn(1, 2, 4, 4, requires_grad=True)

    def reached() -> int:
        (gradient,) = torch.autograd.grad(module(x)[0, :, 0, 0].sum(), x)
        return int((F.max_pool2d(gradient.abs(), 2).sum(1) > 1e-14).sum())

    assert reached() == 4
    nn.init.zeros_(module.layers[0].attention.value.weight)
    assert reached() == 1


@pytest.mark.parametrize("fields", [{"window": 0}, {"latents": 0}, {"depth": 0}, {"heads": 0}, {"head_width": 1.5}])
def test_values_out_of_bounds_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        InterleavedAttention(**fields)
