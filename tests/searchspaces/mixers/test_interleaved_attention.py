"""Local and global attention by turns, group by group and token by token."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers.interleaved_attention import InterleavedAttention
from tests.searchspaces.twins import (
    cells,
    image_of,
    pair,
    positions,
    projected,
    twin_of,
)


def global_layer(layer: Any, part: InterleavedAttention, tokens: list[Tensor]) -> list[Tensor]:
    normalized = [layer.attention_norm(token) for token in tokens]
    tokens = [
        token + projected(layer.attention, part, n, normalized) for token, n in zip(tokens, normalized, strict=True)
    ]
    return [token + layer.project(F.gelu(layer.expand(layer.perceptron_norm(token)))) for token in tokens]


@twin_of(
    (InterleavedAttention(heads=2, head_width=2, window=2, latents=2), (3, 4, 2)),
    (InterleavedAttention(heads=2, head_width=2, window=2, latents=1, depth=2), (2, 3, 5)),
    (InterleavedAttention(heads=2, head_width=2, window=(1, 3), latents=3), (2, 2, 4)),
    (InterleavedAttention(heads=2, head_width=2, window=9, latents=2), (2, 2, 3)),
    tolerance=1e-10,
)
def interleaved(part: InterleavedAttention, module: Any, x: Tensor) -> Tensor:
    size, groups = x.shape[2:], cells(x.shape[2:], pair(part.window))
    tokens = {p: x[:, :, p[0], p[1]] for p in positions(size)}
    local = {
        p: projected(module.local, part, tokens[p], [tokens[q] for q in members])
        for members in groups.values()
        for p in members
    }
    data = {p: tokens[p] + local[p] for p in tokens}
    latents = []
    for members in groups.values():
        for row in module.latents:
            start = row.expand(len(x), -1)
            latents.append(start + projected(module.read, part, start, [data[q] for q in members]))
    for layer in module.layers:
        latents = global_layer(layer, part, latents)
    latents = [module.norm(latent) for latent in latents]
    outputs = {}
    for index, members in enumerate(groups.values()):
        own = latents[index * part.latents : (index + 1) * part.latents]
        outputs |= {p: local[p] + projected(module.write, part, data[p], own) for p in members}
    return image_of([outputs[p] for p in positions(size)], x)


def test_groups_meet_in_the_global_layers_alone() -> None:
    module: Any = InterleavedAttention(window=2, heads=1, head_width=4).build((2, 4, 4))
    x = torch.randn(1, 2, 4, 4, requires_grad=True)

    def reached() -> int:
        (gradient,) = torch.autograd.grad(module(x)[0, :, 0, 0].sum(), x)
        return int((F.max_pool2d(gradient.abs(), 2).sum(1) > 1e-14).sum())

    assert reached() == 4
    nn.init.zeros_(module.layers[0].attention.value.weight)
    assert reached() == 1
