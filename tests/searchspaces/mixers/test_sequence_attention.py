"""Attention that saves work along long sequences: regions, sparse patterns, chunks."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from searchspaces.cost import module_cost
from searchspaces.mixers.attention import Attention
from searchspaces.mixers.chunked_attention_tcn import ChunkAttention, ChunkedAttentionTcn
from searchspaces.mixers.combiner_attention import CombinerAttention
from searchspaces.mixers.sparse_attention import SparseAttention
from tests.searchspaces.twins import (
    attended,
    label,
    per_head,
    twin_of,
)


@twin_of(
    (CombinerAttention(heads=2, head_width=3, region=3), (4, 8)),
    (CombinerAttention(heads=2, head_width=2, region=2, causal=True), (3, 7)),
    (CombinerAttention(heads=1, head_width=3, region=4), (3, 3, 3)),
    (CombinerAttention(heads=1, head_width=2, region=1), (2, 4)),
)
def combiner(part: CombinerAttention, module: Any, x: Tensor) -> Tensor:
    """p(j | i) for every pair of positions, as the factorization says, then the sum over values."""

    def probabilities(query: Tensor, key: Tensor, i: int, count: int) -> list[Tensor]:
        regions = [list(range(first, min(first + part.region, count))) for first in range(0, count, part.region)]
        own = next(number for number, region in enumerate(regions) if i in region)
        scale = math.sqrt(query.shape[2])
        direct = {j: (query[:, i] * key[:, j]).sum(1) / scale for j in regions[own] if j <= i or not part.causal}
        others = [r for r in range(len(regions)) if r != own and (r < own or not part.causal)]
        indirect = {r: (query[:, i] * key[:, regions[r]].amax(1)).sum(1) / scale for r in others}
        total = torch.stack([score.exp() for score in (*direct.values(), *indirect.values())]).sum(0)
        found = [torch.zeros(len(query)) for _ in range(count)]
        for j, score in direct.items():
            found[j] = score.exp() / total
        for r, score in indirect.items():
            inside = [(query[:, regions[r]].amax(1) * key[:, j]).sum(1) / scale for j in regions[r]]
            weights = torch.stack([entry.exp() for entry in inside])
            for j, weight in zip(regions[r], weights / weights.sum(0), strict=True):
                found[j] = score.exp() / total * weight
        return found

    tokens = x.flatten(2).transpose(1, 2)
    count, outputs = tokens.shape[1], []
    for i in range(count):
        heads = []
        for rows in per_head(part.head_width, part.heads):
            query, key, value = (role(tokens)[..., rows] for role in (module.query, module.key, module.value))
            chances = probabilities(query, key, i, count)
            torch.testing.assert_close(torch.stack(chances).sum(0), torch.ones(len(x)))
            heads.append(sum(chance[:, None] * value[:, j] for j, chance in enumerate(chances)))
        outputs.append(module.output(torch.cat(heads, 1)))
    return torch.stack(outputs, 2).reshape(x.shape)


@twin_of(
    (SparseAttention(heads=2, head_width=3, window=2, sinks=2, block=3), (4, 10)),
    (SparseAttention(heads=2, head_width=2, window=1, sinks=0, block=2, stride=3), (3, 11)),
    (SparseAttention(heads=1, head_width=2, window=3, sinks=1, block=2, stride=2, causal=True), (3, 9)),
    (SparseAttention(heads=2, head_width=2, window=4, block=4, causal=True), (3, 3, 3)),
)
def sparse(part: SparseAttention, module: Any, x: Tensor) -> Tensor:
    """Each query with the keys that the pattern's words give it."""

    def seen(i: int, j: int) -> bool:
        apart = i // part.block - j // part.block
        strided = part.stride > 0 and apart % part.stride == 0
        return (abs(i - j) < part.window or j < part.sinks or strided) and (j <= i or not part.causal)

    tokens = list(x.flatten(2).unbind(2))
    outputs = []
    for i, token in enumerate(tokens):
        near = [other for j, other in enumerate(tokens) if seen(i, j)]
        heads = [
            attended(
                module.query(token)[:, rows],
                [module.key(other)[:, rows] for other in near],
                [module.value(other)[:, rows] for other in near],
            )
            for rows in per_head(part.head_width, part.heads)
        ]
        outputs.append(module.output(torch.cat(heads, 1)))
    return torch.stack(outputs, 2).reshape(x.shape)


@twin_of(
    (ChunkedAttentionTcn(chunk=3, width=4), (3, 8)),
    (ChunkedAttentionTcn(chunk=4, width=2, layers=3, expand=2.0, causal=True), (3, 9)),
    (ChunkedAttentionTcn(chunk=8, width=3, kernel=5, layers=1), (3, 2, 3)),
)
def tcnca(part: ChunkedAttentionTcn, module: Any, x: Tensor) -> Tensor:
    """MEGA's equations at one position after the other."""

    def network(module: Any, sequence: Tensor) -> Tensor:
        count = sequence.shape[2]
        for number, layer in enumerate(module.network.layers):
            dilation, outputs = part.kernel**number, []
            first = -(part.kernel - 1) * dilation // (1 if part.causal else 2)
            for i in range(count):
                places = [(k, i + first + k * dilation) for k in range(part.kernel)]
                taps = [layer.weight[:, 0, k] * sequence[:, :, at] for k, at in places if 0 <= at < count]
                outputs.append(F.silu(sum(taps, layer.bias)))
            sequence = torch.stack(outputs, 2)
        return sequence

    sequence, attention = x.flatten(2), module.attention
    context, chunk = network(module, sequence), min(part.chunk, sequence.shape[2])
    shared = [F.silu(module.shared(token)) for token in context.unbind(2)]
    values = [F.silu(module.value(token)) for token in sequence.unbind(2)]
    keys = [z * attention.key_scale + attention.key_shift for z in shared]
    outputs = []
    for i, z in enumerate(shared):
        near = range(i // chunk * chunk, min(len(shared), (i // chunk + 1) * chunk))
        near = range(near.start, i + 1) if part.causal else near
        biases = [attention.bias[0, 0, j - i + chunk - 1] for j in near]
        query = z * attention.query_scale + attention.query_shift
        o = attended(query, [keys[j] for j in near], [values[j] for j in near], biases)
        around = context[:, :, i]
        reset, update = F.silu(module.reset(around)), module.update(around).sigmoid()
        candidate = F.silu(module.candidate(around) + module.output(reset * o))
        outputs.append(update * candidate + (1 - update) * sequence[:, :, i])
    return torch.stack(outputs, 2).reshape(x.shape)


@pytest.mark.parametrize(
    "part",
    [
        CombinerAttention(heads=2, head_width=3, region=20),
        SparseAttention(heads=2, head_width=3, window=20, block=4),
        SparseAttention(heads=2, head_width=3, window=1, block=4, stride=1),
        SparseAttention(heads=2, head_width=3, window=1, sinks=20, block=3),
    ],
    ids=label,
)
def test_a_pattern_that_leaves_nothing_out_is_full_attention(part: Any) -> None:
    module, full = part.build((5, 11)), Attention(heads=2, head_width=3).build((5, 11))
    full.load_state_dict(module.state_dict())
    x = torch.randn(2, 5, 11)
    torch.testing.assert_close(module(x), full(x), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    "part",
    [
        CombinerAttention(region=3, causal=True),
        SparseAttention(window=3, causal=True, block=4, stride=2),
        ChunkedAttentionTcn(chunk=4, causal=True),
    ],
    ids=label,
)
def test_causal_mixers_see_no_later_position(part: Any) -> None:
    module, x = part.build((3, 11)), torch.randn(1, 3, 11, requires_grad=True)
    for position in (0, 4, 10):
        (gradient,) = torch.autograd.grad(module(x)[:, :, position].sum(), x)
        assert not gradient[:, :, position + 1 :].any()
        assert gradient[:, :, position].any()


def test_combiner_reaches_every_position() -> None:
    module, x = CombinerAttention(region=3).build((3, 11)), torch.randn(1, 3, 11, requires_grad=True)
    (gradient,) = torch.autograd.grad(module(x)[:, :, 5].sum(), x)
    assert gradient.abs().amax(1).min() > 0


@pytest.mark.parametrize("part", [CombinerAttention(), SparseAttention(), ChunkedAttentionTcn()], ids=label)
def test_the_work_is_below_that_of_full_attention(part: Any) -> None:
    shape = (8, 512)
    with torch.device("meta"):
        work, full = (module_cost(built.build(shape), shape).macs for built in (part, Attention()))
    assert work < full / 3


def test_a_smaller_chunk_takes_the_bias_of_its_distances() -> None:
    large, small = ChunkAttention(3, 12, 6, False), ChunkAttention(3, 12, 4, False)
    large.bias.data = torch.arange(-5.0, 6.0)[None, None]
    margin = (large.bias.shape[2] - small.bias.shape[2]) // 2
    centre = large.bias.narrow(2, margin, small.bias.shape[2])
    assert centre.flatten().tolist() == list(range(-3, 4))
