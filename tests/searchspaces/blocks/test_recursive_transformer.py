"""The recursive block of SReT, against loops over tokens and against numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import erf, softmax
from torch import Tensor
from torch.nn import functional as F

from hardware.subjects import CHAIN, Subject
from searchspaces.blocks.recursive_transformer import RecursiveTransformer, SlicedAttention
from searchspaces.cost import architecture_cost, cost
from searchspaces.part import Shape
from searchspaces.skeleton import roles

SHAPES: list[Shape] = [(5, 3, 5), (3, 4, 2), (4, 1, 7), (2, 1, 1)]
GROUPS = [(1,), (3, 2), (2, 4, 1), (8, 8)]


@pytest.fixture(autouse=True)
def double() -> Any:
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def perturbed(part: RecursiveTransformer, shape: Shape) -> Any:
    """A block none of whose parameters, coefficients among them, is what it begins with."""
    module = part.build(shape)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return module


def order(positions: int, groups: int, recursion: int) -> list[list[int]]:
    """The positions of each group: runs of neighbours at first, then every so manieth."""
    length = -(-positions // groups)
    count = -(-positions // length)
    if recursion == 0:
        return [list(range(positions))[start : start + length] for start in range(0, positions, length)]
    return [list(range(positions))[first::count] for first in range(count)]


def sliced(attention: Any, x: Tensor, groups: int, recursion: int) -> Tensor:
    """Permute, attend in each group one query at a time, permute back."""
    heads, rows = attention.heads, order(x.shape[1], groups, recursion)
    query, key, value = (
        role(x).unflatten(2, (heads, -1)) for role in (attention.query, attention.key, attention.value)
    )
    found: dict[int, Tensor] = {}
    for row in rows:
        for t in row:
            scores = torch.einsum("bnd,bsnd->bns", query[:, t], key[:, row]) / query.shape[3] ** 0.5
            found[t] = torch.einsum("bns,bsnd->bnd", scores.softmax(2), value[:, row]).flatten(1)
    assert sorted(found) == list(range(x.shape[1]))
    return attention.output(torch.stack([found[t] for t in range(x.shape[1])], 1))


def twin(part: RecursiveTransformer, module: Any, x: Tensor) -> Tensor:
    """The definition, recursion by recursion."""

    def residual(found: Any, z: Tensor, branch: Any) -> Tensor:
        return found.shortcut * z + found.scale * branch(F.layer_norm(z, z.shape[2:], *found.norm.parameters(), 1e-6))

    z = x.flatten(2).transpose(1, 2)
    for recursion, groups in enumerate(part.groups):
        attend = module.attention
        z = residual(attend, z, lambda y, a=attend, g=groups, r=recursion: sliced(a.branch, y, g, r))
        z = residual(module.perceptron, z, module.perceptron.branch)
        if part.projection:
            projection = module.projections[recursion]
            z = residual(projection, z, projection.branch)
    return z.transpose(1, 2).reshape(x.shape)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("groups", GROUPS, ids=str)
def test_value_and_gradients_equal_loops_over_tokens(groups: tuple[int, ...], shape: Shape) -> None:
    part = RecursiveTransformer(groups=groups, heads=2, head_width=3, projection=float(len(groups) != 2))
    module, x = perturbed(part, shape), torch.randn(2, *shape, requires_grad=True)
    value, expected = module(x), twin(part, module, x)
    torch.testing.assert_close(value, expected, rtol=1e-11, atol=1e-12)
    leaves, direction = [x, *module.parameters()], torch.randn_like(value)
    found, wanted = (torch.autograd.grad(y, leaves, direction, retain_graph=True) for y in (value, expected))
    for gradient, want in zip(found, wanted, strict=True):
        torch.testing.assert_close(gradient, want, rtol=1e-9, atol=1e-10)


def test_two_recursions_equal_the_equations_in_numpy() -> None:
    part = RecursiveTransformer(groups=(2, 3), heads=2, head_width=3, ratio=2.0)
    module, x = perturbed(part, (4, 2, 3)), torch.randn(1, 4, 2, 3)
    weights = {name: tensor.detach().numpy() for name, tensor in module.named_parameters()}

    def residual(name: str, z: np.ndarray, branch: Any) -> np.ndarray:
        normal = (z - z.mean(1, keepdims=True)) / np.sqrt(z.var(1, keepdims=True) + 1e-6)
        normal = normal * weights[f"{name}.norm.weight"] + weights[f"{name}.norm.bias"]
        return weights[f"{name}.shortcut"] * z + weights[f"{name}.scale"] * branch(f"{name}.branch", normal)

    def linear(name: str, z: np.ndarray) -> np.ndarray:
        return z @ weights[f"{name}.weight"].T + weights.get(f"{name}.bias", 0)

    def perceptron(name: str, z: np.ndarray) -> np.ndarray:
        hidden = linear(f"{name}.0", z)
        return linear(f"{name}.2", hidden * (1 + erf(hidden / np.sqrt(2))) / 2)

    def attention(permutation: list[int], groups: int) -> Any:
        def branch(name: str, z: np.ndarray) -> np.ndarray:
            roles = [linear(f"{name}.{role}", z[permutation]) for role in ("query", "key", "value")]
            query, key, value = (role.reshape(groups, -1, 2, 3).transpose(0, 2, 1, 3) for role in roles)
            mixed = softmax(query @ key.swapaxes(2, 3) / np.sqrt(3), axis=3) @ value
            joined = mixed.transpose(0, 2, 1, 3).reshape(6, 6)
            return linear(f"{name}.output", joined[np.argsort(permutation)])

        return branch

    z = x[0].flatten(1).T.numpy()
    for recursion, permutation in enumerate([[0, 1, 2, 3, 4, 5], [0, 3, 1, 4, 2, 5]]):
        z = residual("attention", z, attention(permutation, part.groups[recursion]))
        z = residual("perceptron", z, perceptron)
        z = residual(f"projections.{recursion}", z, perceptron)
    np.testing.assert_allclose(module(x)[0].detach().numpy(), z.T.reshape(4, 2, 3), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("recursion", [0, 1])
def test_groups_of_one_position_give_its_own_value_so_the_permutation_is_undone(recursion: int) -> None:
    attention: Any = SlicedAttention(3, 7, 2, 2, (7, 7))
    x = torch.randn(2, 7, 3)
    torch.testing.assert_close(attention(x, recursion), attention.output(attention.value(x)))


def reached(groups: tuple[int, ...]) -> Tensor:
    """Which positions of 16 each position's output depends on."""
    module = RecursiveTransformer(groups=groups, head_width=2).build((3, 4, 4))
    derivative = torch.autograd.functional.jacobian(module, torch.randn(1, 3, 4, 4))
    return derivative.reshape(3, 16, 3, 16).abs().amax((0, 2)) > 0


def test_the_second_recursion_joins_what_the_first_kept_apart() -> None:
    alone = torch.block_diag(*[torch.ones(4, 4)] * 4) > 0
    assert torch.equal(reached((4,)), alone)
    assert reached((4, 4)).all()


def test_recursions_cost_computation_and_no_parameters_but_the_projections() -> None:
    shape = (8, 4, 4)

    def of(count: int, projection: float) -> Any:
        part = RecursiveTransformer(groups=(2,) * count, projection=projection, head_width=4, ratio=2.0)
        return cost(part, shape)

    one, projection = of(1, 0.0), 2 * 8 * 4 + 8 + 4 + 2 * 8 + 2
    macs = 16 * (4 * 8 * 8 + 2 * 8 * 8 + 2 * 8 * 16)
    assert one.macs == macs
    for count in (2, 3, 7):
        assert of(count, 0.0).parameters == one.parameters and of(count, 0.0).macs == count * macs
        assert of(count, 0.5).parameters == one.parameters + count * projection
        assert of(count, 0.5).macs == count * (macs + 16 * 2 * 8 * 4)


def test_groups_divide_the_attention_and_cost_no_parameters() -> None:
    shape = (8, 4, 4)
    costs = {count: cost(RecursiveTransformer(groups=(count, count), head_width=4), shape) for count in (1, 2, 4)}
    assert len({found.parameters for found in costs.values()}) == 1
    for count in (2, 4):
        assert costs[1].macs - costs[count].macs == 2 * 2 * 16 * (16 - 16 // count) * 8


def test_the_measured_chain_of_a_profile_runs_every_recursion() -> None:
    once, thrice = (
        architecture_cost(
            Subject(RecursiveTransformer(groups=groups, projection=0.0), (8, 4, 4), CHAIN, True).architecture
        )
        for groups in ((2,), (2, 2, 2))
    )
    frame = architecture_cost(Subject(None, (8, 4, 4), 0, True).architecture).macs
    assert thrice.macs - frame == 3 * (once.macs - frame)
    assert thrice.parameters == once.parameters


def test_weights_are_the_same_ones_for_all_numbers_of_recursions_and_groups() -> None:
    keys = [
        {role.key for role in roles(RecursiveTransformer(groups=groups).build((4, 2, 2))).values()} for groups in GROUPS
    ]
    assert keys[0] < keys[1] < keys[2] and keys[1] == keys[3]
