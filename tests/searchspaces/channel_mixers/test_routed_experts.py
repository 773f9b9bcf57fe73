"""Mixtures that route to a few experts or to one leaf, against walks in numpy, token by token."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import erf, expit, softmax
from torch import Tensor

from searchspaces.channel_mixers.fast_feedforward import FastFeedforward, decision_entropy
from searchspaces.channel_mixers.shared_experts import SharedExperts, balance
from tests.searchspaces.twins import assert_equal_in_value_and_gradient, randomized, token_by_token, twin_of

SHAPES = [(5, 3, 4), (3, 1, 2), (8, 5, 1)]


def matrix(layer: Any) -> Any:
    return layer.weight.detach().numpy()[:, :, 0, 0]


def silu(z: Any) -> Any:
    return z * expit(z)


def gelu(z: Any) -> Any:
    return z * (1 + erf(z / 2**0.5)) / 2


def perceptron(expert: Any, token: Any, function: Any) -> Any:
    return matrix(expert.project) @ function(matrix(expert.expand) @ token)


@pytest.mark.oracle("shared_experts")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("experts", "active", "shared"), [(4, 2, 1), (8, 3, 2), (2, 5, 0), (1, 1, 1)])
def test_shared_experts_and_the_nearest_routed_ones_are_summed(
    experts: int, active: int, shared: int, shape: Any
) -> None:
    torch.manual_seed(0)
    module: Any = SharedExperts(experts=experts, active=active, shared=shared).build(shape).double()
    routed = module.routed if shared else module
    x = torch.randn(2, *shape, dtype=torch.float64)
    for i, j in np.ndindex(*shape[1:]):
        token = x[1, :, i, j].numpy()
        affinity = softmax(matrix(routed.router.projection) @ token)
        expected = perceptron(module.shared, token, silu) if shared else np.zeros(shape[0])
        for chosen in np.argsort(-affinity)[:active]:
            expected = expected + affinity[chosen] * perceptron(routed.experts[chosen], token, silu)
        for mode in (True, False):
            found = module.train(mode)(x)[1, :, i, j].detach().numpy()
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@twin_of(
    (SharedExperts(experts=4, active=2), (5, 3, 4)),
    (SharedExperts(active=3, shared=2), (3, 1, 2)),
    (SharedExperts(experts=2, active=5, shared=0), (8, 5, 1)),
)
def nearest(part: SharedExperts, module: Any, x: Tensor) -> Tensor:
    """Each token with the shared expert and the routed ones in the order of their affinity."""
    routed = module.routed if part.shared else module

    def compute(token: Tensor) -> Tensor:
        pixel, affinity = token[None, :, None, None], (routed.router.projection.weight[:, :, 0, 0] @ token).softmax(0)
        chosen = sorted(range(part.experts), key=lambda i: -float(affinity[i].detach()))[: part.active]
        shared = module.shared(pixel) if part.shared else torch.zeros_like(pixel)
        return sum((affinity[i] * routed.experts[i](pixel) for i in chosen), shared)[0, :, 0, 0]

    return token_by_token(compute, x)


def test_more_experts_are_finer_ones() -> None:
    coarse: Any = SharedExperts(experts=3, shared=1, ratio=4.0).build((8, 2, 2))
    fine: Any = SharedExperts(experts=6, shared=2, ratio=4.0).build((8, 2, 2))
    assert coarse.routed.experts[0].expand.out_channels == 8
    assert fine.routed.experts[0].expand.out_channels == 4
    assert fine.shared.expand.out_channels == coarse.shared.expand.out_channels == 8


def test_the_balance_loss_is_that_of_its_definition_and_least_when_all_are_used() -> None:
    torch.manual_seed(0)
    router: Any = SharedExperts(experts=4, active=2).build((4, 3, 5)).double().routed.router  # type: ignore[union-attr]
    x = torch.randn(2, 4, 3, 5, dtype=torch.float64)
    tokens = x.movedim(1, -1).reshape(-1, 4).numpy()
    affinity = softmax(tokens @ matrix(router.projection).T, axis=1)
    selected = affinity.argsort(1).argsort(1) >= 2
    frequency = [4 / (2 * len(tokens)) * sum(bool(token[i]) for token in selected) for i in range(4)]
    expected = sum(f * affinity[:, i].mean() for i, f in enumerate(frequency))
    assert balance(router.affinities(x), 2).item() == pytest.approx(expected, rel=1e-12)
    torch.nn.init.eye_(router.projection.weight.data[:, :, 0, 0])
    turns = torch.eye(4, dtype=torch.float64) + torch.eye(4, dtype=torch.float64).roll(1, 0)
    assert balance(router.affinities(turns[:, :, None, None]), 2).item() == pytest.approx(1)
    assert balance(router.affinities(turns[:1, :, None, None]), 2).item() > 1


def tree(shape: Any, depth: int) -> Any:
    torch.manual_seed(0)
    module: Any = FastFeedforward(depth=depth, ratio=2.0).build(shape).double()
    torch.nn.init.normal_(module.router.nodes.weight)
    return module


def walk(module: Any, token: Any, node: int = 0, level: int = 0, leaf: int = 0) -> Any:
    """The mixture below a node, and the leaf that the rounded decisions lead to."""
    if level == module.router.depth:
        return perceptron(module.experts[leaf], token, gelu), leaf
    score = matrix(module.router.nodes)[node] @ token + module.router.nodes.bias[node].item()
    first = 2 ** (level + 1) - 1
    left, left_leaf = walk(module, token, first + leaf, level + 1, leaf)
    right, right_leaf = walk(module, token, first + leaf + 2**level, level + 1, leaf + 2**level)
    right_share = expit(score)
    return (1 - right_share) * left + right_share * right, right_leaf if right_share >= 0.5 else left_leaf


@pytest.mark.oracle("fast_feedforward")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_tree_mixes_its_leaves_in_training_and_goes_to_one_when_deployed(depth: int, shape: Any) -> None:
    module = tree(shape, depth)
    module.router.progress(0.0)
    x = torch.randn(2, *shape, dtype=torch.float64)
    mixed, deployed = module.train()(x).detach().numpy(), module.eval()(x).detach().numpy()
    for i, j in np.ndindex(*shape[1:]):
        token = x[1, :, i, j].numpy()
        mixture, leaf = walk(module, token)
        np.testing.assert_allclose(mixed[1, :, i, j], mixture, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(deployed[1, :, i, j], perceptron(module.experts[leaf], token, gelu), rtol=1e-9)


@twin_of(*((FastFeedforward(depth=depth, ratio=2.0), shape) for depth in (1, 2, 3) for shape in SHAPES))
def descent(part: FastFeedforward, module: Any, x: Tensor) -> Tensor:
    """Each token with the leaf at the end of its decisions if deployed, with the mixture of both ways in training."""

    def below(token: Tensor, level: int = 0, leaf: int = 0) -> Tensor:
        if level == part.depth:
            return module.experts[leaf](token[None, :, None, None])[0, :, 0, 0]  # type: ignore[no-any-return]
        nodes, node = module.router.nodes, 2**level - 1 + leaf
        right = torch.sigmoid(nodes.weight[node, :, 0, 0] @ token + nodes.bias[node])
        if not module.training:
            return below(token, level + 1, leaf + 2**level * int(right >= 0.5))
        return (1 - right) * below(token, level + 1, leaf) + right * below(token, level + 1, leaf + 2**level)

    return token_by_token(below, x)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_soft_tree_has_the_gradients_of_the_mixture(shape: Any) -> None:
    part = FastFeedforward(depth=2, ratio=2.0)
    module: Any = randomized(part.build(shape)).train()
    module.router.progress(0.0)
    assert_equal_in_value_and_gradient(module, partial(descent, part), shape)


def test_at_the_end_of_training_a_tree_computes_what_is_deployed_and_still_learns() -> None:
    module = tree((5, 3, 4), 2).train()
    x = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    module.router.progress(1.0)
    end = module(x)
    end.square().sum().backward()
    assert module.router.nodes.weight.grad.any()
    torch.testing.assert_close(end, module.eval()(x), rtol=1e-12, atol=1e-12)


def test_the_leaves_weights_sum_to_one_at_every_progress() -> None:
    module = tree((5, 3, 4), 3).train()
    for fraction in (0.0, 0.4, 1.0):
        module.router.progress(fraction)
        weights = module.router(torch.randn(2, 5, 3, 4, dtype=torch.float64))
        torch.testing.assert_close(weights.sum(1), torch.ones(2, 3, 4, dtype=torch.float64))


def test_a_shallow_tree_is_the_top_of_a_deep_one() -> None:
    deep, shallow = tree((5, 3, 4), 3).router, tree((5, 3, 4), 2).router
    with torch.no_grad():
        shallow.nodes.weight.copy_(deep.nodes.weight[:3])
        shallow.nodes.bias.copy_(deep.nodes.bias[:3])
    for router in (deep, shallow):
        router.progress(0.0)
    x = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    torch.testing.assert_close(deep(x)[:, :4] + deep(x)[:, 4:], shallow(x))


def test_hardening_is_the_entropy_of_the_decisions() -> None:
    router = tree((5, 3, 4), 2).router
    x = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    right = router.nodes(x).sigmoid().detach().numpy()
    entropy = -(right * np.log(right) + (1 - right) * np.log(1 - right)).sum(1).mean()
    assert decision_entropy(router.nodes(x)).item() == pytest.approx(entropy, rel=1e-9)
