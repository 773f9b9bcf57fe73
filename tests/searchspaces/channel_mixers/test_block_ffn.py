"""Routed experts against numpy, sparse against dense, and the sparsity losses against their definitions."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from searchspaces.channel_mixers.block_ffn import BlockFfn, activation_locality, chunk_sparsification
from tests.searchspaces.twins import token_by_token, twin_of

SHAPES = [(5, 3, 4), (3, 1, 2), (8, 5, 1)]


def built(shape: Any, **fields: Any) -> Any:
    torch.manual_seed(0)
    module = BlockFfn(**fields).build(shape).double()
    nn.init.normal_(module.router.factor)  # type: ignore[union-attr,arg-type]
    return module


def matrix(layer: Any) -> Any:
    return layer.weight.detach().numpy()[:, :, 0, 0]


@pytest.mark.oracle("block_ffn")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("experts", [1, 3, 8])
def test_experts_are_weighted_by_normalized_rectified_scores(experts: int, shape: Any) -> None:
    module = built(shape, experts=experts, ratio=2.0)
    x = torch.randn(2, *shape, dtype=torch.float64)
    for i, j in np.ndindex(*shape[1:]):
        token = x[1, :, i, j].numpy()
        active = np.maximum(matrix(module.router.projection) @ token, 0)
        weights = active / np.sqrt((active**2).mean() + 1e-6) * module.router.factor.detach().numpy()
        expected = np.zeros(shape[0])
        for weight, expert in zip(weights, module.experts, strict=True):
            hidden = matrix(expert.expand) @ token
            expected += weight * (matrix(expert.project) @ (hidden / (1 + np.exp(-hidden))))
        np.testing.assert_allclose(module(x)[1, :, i, j].detach().numpy(), expected, rtol=1e-9, atol=1e-12)


@twin_of(*((BlockFfn(experts=experts, ratio=2.0), shape) for experts, shape in zip([1, 3, 8], SHAPES, strict=True)))
def routed(part: BlockFfn, module: Any, x: Tensor) -> Tensor:
    """Each token with the experts whose score is above zero."""

    def compute(token: Tensor) -> Tensor:
        active = (module.router.projection.weight[:, :, 0, 0] @ token).clamp(min=0)
        weights = active / (active.square().mean() + module.router.eps).sqrt() * module.router.factor
        used = [index for index, score in enumerate(active) if score > 0]
        outputs = [weights[i] * module.experts[i](token[None, :, None, None])[0, :, 0, 0] for i in used]
        return sum(outputs, torch.zeros_like(token))

    return token_by_token(compute, x)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("experts", [1, 4])
def test_skipping_what_is_silent_changes_neither_values_nor_gradients(experts: int, shape: Any) -> None:
    module = built(shape, experts=experts)
    x = torch.randn(3, *shape, dtype=torch.float64, requires_grad=True)
    cotangent = torch.randn(3, *shape, dtype=torch.float64)
    inputs = (x, *module.parameters())
    dense = module.train()(x)
    sparse = module.eval()(x)
    torch.testing.assert_close(sparse, dense, rtol=1e-12, atol=1e-12)
    expected = torch.autograd.grad((dense * cotangent).sum(), inputs)
    found = torch.autograd.grad((sparse * cotangent).sum(), inputs, allow_unused=True)
    for gradient, other in zip(found, expected, strict=True):
        torch.testing.assert_close(
            torch.zeros_like(other) if gradient is None else gradient, other, rtol=1e-9, atol=1e-12
        )


def test_in_evaluation_an_expert_computes_only_where_it_is_used() -> None:
    module = built((6, 5, 4), experts=4).eval()
    x = torch.randn(2, 6, 5, 4, dtype=torch.float64)
    used = int((module.router(x) > 0).sum() + (module.router(x) < 0).sum())
    assert 0 < used < 4 * 40
    hidden = module.experts[0].expand.out_channels
    with FlopCounterMode(display=False) as counter:
        module(x)
    assert counter.get_total_flops() // 2 == 40 * 6 * 4 + used * 2 * 6 * hidden


def test_an_input_that_silences_all_experts_gives_zeros() -> None:
    module = built((4, 2, 3), experts=2)
    nn.init.constant_(module.router.projection.weight, -1)
    x = torch.rand(2, 4, 2, 3, dtype=torch.float64, requires_grad=True)
    assert not module.eval()(x).any()
    y = module.train()(x)
    y.sum().backward()
    assert not y.any() and x.grad is not None and x.grad.isfinite().all()


def naive_locality(scores: Tensor, sharpness: float) -> float:
    probabilities = 1 / (1 + np.exp(-sharpness * scores.numpy()))
    terms = []
    for sample in probabilities:
        for expert in sample:
            for left, right in itertools.pairwise(expert):
                terms.append(-(right * np.log(left) + (1 - right) * np.log(1 - left)))
    return float(np.mean(terms))


def naive_chunks(weights: Tensor, chunk: int) -> float:
    terms = []
    for sample in weights.numpy():
        shares = sample / (sample.sum(0) + 1e-5)
        for start in range(0, sample.shape[1], chunk):
            for expert in shares[:, start : start + chunk]:
                silent = 1.0
                for share in expert:
                    silent *= 1 - share
                terms.append(1 - silent)
    return float(np.mean(terms))


@pytest.mark.parametrize("tokens", [2, 7, 16])
def test_locality_is_the_cross_entropy_of_neighbors(tokens: int) -> None:
    scores = torch.randn(2, 3, tokens, dtype=torch.float64)
    found = activation_locality(scores, 2.0).item()
    assert found == pytest.approx(naive_locality(scores, 2.0), rel=1e-9)


@pytest.mark.parametrize(("tokens", "chunk"), [(1, 8), (7, 4), (16, 8)])
def test_chunk_sparsification_is_the_chance_of_an_active_expert(tokens: int, chunk: int) -> None:
    weights = torch.randn(2, 3, tokens, dtype=torch.float64).relu()
    found = chunk_sparsification(weights, chunk).item()
    assert found == pytest.approx(naive_chunks(weights, chunk), rel=1e-9)


def test_tokens_with_the_same_experts_lose_least() -> None:
    same = torch.tensor([3.0, -3.0, 3.0]).double()[None, :, None].expand(1, 3, 8)
    turning = same * torch.tensor([1.0, -1.0] * 4)
    assert activation_locality(same) < 1e-6 < activation_locality(turning)
    one = torch.eye(4).double()[None, :, :1].expand(1, 4, 8)
    assert chunk_sparsification(one, 8) == pytest.approx(0.25, abs=1e-4)
    assert chunk_sparsification(torch.eye(4).double().repeat(1, 2)[None], 8) > 0.9


def test_training_on_the_losses_alone_makes_a_chunk_use_fewer_experts() -> None:
    module = built((6, 4, 4), experts=4)
    x = torch.randn(4, 6, 4, 4, dtype=torch.float64) + 1

    def used() -> float:
        active = module.router(x).ne(0).flatten(2).unflatten(2, (-1, 8)).any(3)
        return float(active.double().mean())

    before = used()
    optimizer = torch.optim.Adam(module.router.parameters(), 0.05)
    for _ in range(60):
        optimizer.zero_grad()
        scores = module.router.scores(x).flatten(2)
        (activation_locality(scores, 4.0) + chunk_sparsification(scores.relu(), 8)).backward()
        optimizer.step()
    assert used() <= 0.5 < before


def test_a_single_token_has_no_neighbor() -> None:
    scores = torch.randn(2, 3, 1, requires_grad=True)
    loss = activation_locality(scores)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss == 0 and scores.grad is not None
