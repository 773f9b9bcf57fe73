"""Attention over graphs: tables against the network itself, the likelihood, the ensemble."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import pytest
import torch
from scipy.stats import norm

from predictors._graph_attention import Batch, Ensemble, Lookup, Shape
from predictors._relations import RELATIONS, graphs, relations
from predictors.graph_network import GraphNetwork, GraphNetworkModel, _Passes, bounded, loss
from tests.predictors.spaces import encoding, examples, rows

QUICK = GraphNetwork(steps=100)


@lru_cache
def fitted(name: str) -> GraphNetworkModel:
    return QUICK.fit(examples(encoding(name), 60))


def ensemble(places: int = 5, seed: int = 0) -> Ensemble:
    """Random weights everywhere, those that start at 0 too."""
    generator = torch.Generator().manual_seed(seed)
    found = Ensemble.initial(Shape(places, 7, 3, 4, 6), 2, generator).detached()
    return Ensemble({name: torch.randn(value.shape, generator=generator) for name, value in found.parameters.items()})


def naive(
    weights: dict[str, torch.Tensor], tokens: list[int], related: list[list[int]], sums: torch.Tensor
) -> torch.Tensor:
    """The docstring's equations for one network of one member, present tokens only, one pair at a time."""
    here = [place for place, token in enumerate(tokens) if token >= 0]
    nodes = [
        torch.nn.functional.silu(weights["token"][tokens[i]] + weights["place"][i]) @ weights["node"] for i in here
    ]
    q, k, g, v, u = zip(*[node.split([4, 4, 4, 3, 6]) for node in nodes], strict=True)
    z = weights["bias1"] + sums @ weights["sums"] + sum(u)
    for a, i in enumerate(here):
        scores = [float(q[a] @ k[b] + weights["relation"][related[i][j]]) for b, j in enumerate(here)]
        shares = [math.exp(score) / sum(math.exp(other) for other in scores) for score in scores]
        received = sum(share * torch.cat([value, torch.ones(1)]) for share, value in zip(shares, v, strict=True))
        z = z + (g[a] * received) @ weights["mix"]
    h = torch.relu(torch.relu(z) @ weights["layer1"] + weights["bias2"])
    return h @ weights["output"] + z @ weights["linear"] + weights["bias3"]


def test_the_network_and_its_tables_compute_the_equations() -> None:
    found, rng = ensemble(), np.random.default_rng(0)
    for value in ("node", "relation"):
        found.parameters[value].mul_(0.3)
    tokens = rng.integers(-1, 7, (40, 5))
    tokens[0] = 3
    related, sums = torch.from_numpy(rng.integers(0, RELATIONS, (40, 5, 5))), torch.randn(40, 3)
    shown = torch.from_numpy(tokens)
    batch = Batch(shown.clamp(min=0), shown >= 0, related, sums)[torch.arange(40).expand(2, -1)]
    direct = torch.stack(found.forward(batch), -1)
    looked_up = torch.stack(Lookup.of(found)(shown, related, torch.arange(40), sums), -1)
    expected = torch.stack(
        [
            torch.stack(
                [
                    naive(member, row, graph, s)
                    for row, graph, s in zip(tokens.tolist(), related.tolist(), sums, strict=True)
                ]
            )
            for member in ({name: value[m] for name, value in found.parameters.items()} for m in range(2))
        ]
    )
    torch.testing.assert_close(direct, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(looked_up, expected, rtol=1e-4, atol=1e-4)


def test_a_network_without_tokens_has_a_value() -> None:
    found = ensemble()
    nothing, related, sums = torch.full((2, 5), -1), torch.zeros(1, 5, 5, dtype=torch.int64), torch.zeros(2, 3)
    mean, _ = Lookup.of(found)(nothing, related, torch.zeros(2, dtype=torch.int64), sums)
    batch = Batch(nothing.clamp(min=0), nothing >= 0, related.expand(2, -1, -1), sums)
    direct, _ = found.forward(batch[torch.arange(2).expand(2, -1)])
    assert torch.isfinite(mean).all()
    torch.testing.assert_close(mean, direct)


def test_relations_matter() -> None:
    found, tokens, sums = ensemble(), torch.tensor([[0, 1, 2, 3, 4]]), torch.zeros(1, 3)
    said = [
        Lookup.of(found)(tokens, torch.from_numpy(relations(edges[None])), torch.zeros(1, dtype=torch.int64), sums)[0]
        for edges in (np.eye(5, k=1, dtype=bool), np.eye(5, k=2, dtype=bool))
    ]
    assert not torch.allclose(*said)


def test_the_likelihood_is_gaussian_and_its_weight_has_no_gradient() -> None:
    rng = torch.Generator().manual_seed(0)
    means, logs, values = (torch.randn(2, 9, generator=rng, dtype=torch.float64) for _ in range(3))
    means.requires_grad_()
    std = bounded(logs).exp().sqrt()
    density = norm.logpdf(values, means.detach(), std) + 0.5 * math.log(2 * math.pi)
    expected = (-density * std.numpy()).mean(axis=1).sum()
    assert loss(means, logs, values).item() == pytest.approx(expected)
    loss(means, logs, values).backward()
    assert means.grad is not None
    torch.testing.assert_close(means.grad, (means.detach() - values) / std / 9)


def test_a_member_sees_each_of_its_rows_once_in_a_pass_and_no_other() -> None:
    own = torch.tensor([[0, 1, 2, 3, 4, 5], [10, 11, 12, 13, 14, 15]])
    passes = _Passes(own, 2, torch.Generator().manual_seed(0))
    for _ in range(3):
        seen = torch.cat([passes.draw() for _ in range(3)], dim=1)
        torch.testing.assert_close(seen.sort(1).values, own)


@pytest.mark.parametrize("name", ["nas_bench_201", "fbnet", "space", "columns"])
def test_deviations_are_those_of_the_mixture(name: str) -> None:
    model, matrix = fitted(name), rows(encoding(name), 70, seed=8)
    edges, number = graphs(encoding(name).edges(matrix))
    seen = (encoding(name).tokens(matrix), relations(edges), number, model.sums(matrix))
    with torch.no_grad():
        means, logs = model.lookup(*(torch.from_numpy(array) for array in seen))
    draws = bounded(logs).exp() * model.calibration + means**2
    mean, variance = model.latent(matrix)
    np.testing.assert_allclose(mean, means.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(variance, draws.mean(0) - means.mean(0) ** 2, rtol=1e-3, atol=1e-4)


def test_members_differ_and_other_seeds_are_other_models() -> None:
    parameters = fitted("nas_bench_201").ensemble.parameters
    assert all(not torch.equal(value[0], value[1]) for name, value in parameters.items())
    other = QUICK.fit(examples(encoding("nas_bench_201"), 60, seed=1))
    assert not torch.equal(other.ensemble.parameters["token"], parameters["token"])
