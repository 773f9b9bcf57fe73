"""A sub-network is the standalone network on slices of the shared weights: in value, in gradient, in nothing else."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from searchspaces.architecture import Architecture
from searchspaces.placements import Placements
from searchspaces.skeleton import skeleton, take
from searchspaces.space import SearchSpace
from searchspaces.supernet import Supernet
from tests.searchspaces.spaces import FAMILIES, SIGNATURE, space

TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-5}


@cache
def opened(family: str) -> tuple[SearchSpace, Placements]:
    found = space(FAMILIES[family])
    return found, Placements(found)


def architectures(family: str, count: int = 6) -> list[Architecture]:
    found, _ = opened(family)
    return [found.decode(row) for row in found.sample(np.random.default_rng(3), count)]


def supernet(family: str, dtype: torch.dtype = torch.float32) -> Supernet:
    torch.manual_seed(0)
    return Supernet(opened(family)[1]).to(dtype)


def images(dtype: torch.dtype, batch: int = 3) -> Tensor:
    return torch.randn(batch, *SIGNATURE.input_shape, dtype=dtype, generator=torch.Generator().manual_seed(1))


def standalone(network: Supernet, architecture: Architecture, dtype: torch.dtype) -> torch.nn.Sequential:
    module = architecture.build().to(dtype)
    module.load_state_dict(network.subnet(architecture).state())
    return module


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_subnet_equals_standalone_in_value_and_gradient(family: str, training: bool, dtype: torch.dtype) -> None:
    shared, x = supernet(family, dtype), images(dtype)
    for architecture in architectures(family):
        subnet = shared.subnet(architecture).to(dtype)
        subnet.recalibrate([images(dtype, 5)])
        alone = architecture.build().to(dtype)
        alone.load_state_dict(subnet.state())
        subnet.train(training), alone.train(training)
        shared.zero_grad()
        ours, theirs = subnet(x), alone(x)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCES[dtype] * max(1, theirs.abs().max().item()))
        F.cross_entropy(ours, torch.tensor([0, 1, 2])).backward()
        F.cross_entropy(theirs, torch.tensor([0, 1, 2])).backward()
        gradients = {name: parameter.grad for name, parameter in alone.named_parameters()}
        for index, placement in enumerate(architecture.blocks()):
            for name, role in skeleton(placement.part, placement.shape).roles.items():
                whole = shared._parameters[f"{placement.path}|{role.key}".replace(".", "/")]
                assert whole is not None and whole.grad is not None
                expected = gradients[f"{index}.{name}"]
                assert expected is not None
                scale = max(1.0, expected.abs().max().item())
                torch.testing.assert_close(
                    take(role, whole.grad), expected, rtol=0, atol=10 * TOLERANCES[dtype] * scale
                )


@pytest.mark.parametrize("family", FAMILIES)
def test_training_a_subnet_leaves_all_other_weights_untouched(family: str) -> None:
    for architecture in architectures(family, 3):
        shared = supernet(family)
        before = {name: parameter.detach().clone() for name, parameter in shared.named_parameters()}
        inside = {name: torch.zeros_like(parameter) for name, parameter in shared.named_parameters()}
        for placement in architecture.blocks():
            for role in skeleton(placement.part, placement.shape).roles.values():
                take(role, inside[f"{placement.path}|{role.key}".replace(".", "/")]).fill_(1)
        optimizer = torch.optim.SGD(shared.parameters(), lr=1.0)
        shared.subnet(architecture).train()(images(torch.float32)).square().sum().backward()
        optimizer.step()
        moved = 0
        for name, parameter in shared.named_parameters():
            changed = parameter.detach() != before[name]
            assert not (changed & (inside[name] == 0)).any(), name
            moved += int(changed.sum())
        assert moved > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_two_subnets_share_what_they_have_in_common(family: str) -> None:
    shared = supernet(family)
    found, _ = opened(family)
    rows = found.sample(np.random.default_rng(0), 2)
    first, second = (found.decode(row) for row in rows)
    one, other = shared.subnet(first), shared.subnet(second)
    before = {name: tensor.clone() for name, tensor in other.weights(len(second.blocks()) - 1).items()}
    with torch.no_grad():
        for tensor in one.weights(len(first.blocks()) - 1).values():
            tensor.add_(1)
    after = other.weights(len(second.blocks()) - 1)
    assert all((after[name] != before[name]).any() for name in before)


def test_recalibration_averages_over_the_batches() -> None:
    shared = supernet("mobilenet")
    architecture = architectures("mobilenet", 1)[0]
    subnet = shared.subnet(architecture)
    batches = [images(torch.float32, 4), 3 * images(torch.float32, 4) + 1]
    subnet.recalibrate(batches)
    path = next(name for name in subnet.state() if name.endswith("running_mean"))
    index, _, inner = path.partition(".")
    del inner
    means = []
    for batch in batches:
        alone = standalone(shared, architecture, torch.float32).train()
        seen: list[Tensor] = []
        norm = alone.get_submodule(path.removesuffix(".running_mean"))
        norm.register_forward_pre_hook(lambda module, inputs, seen=seen: seen.append(inputs[0].mean((0, 2, 3))))
        alone(batch)
        means.append(seen[0])
    assert int(index) >= 0
    torch.testing.assert_close(subnet.state()[path], torch.stack(means).mean(0))


def test_specialized_supernet_starts_from_the_slices_and_is_its_own() -> None:
    shared = supernet("metaformer")
    architecture = architectures("metaformer", 1)[0]
    alone = shared.specialize(architecture)
    expected = shared.subnet(architecture).state()
    with torch.no_grad():
        for parameter in shared.parameters():
            parameter.zero_()
    found = alone.subnet(architecture).state()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert sum(p.numel() for p in alone.parameters()) == sum(p.numel() for p in architecture.build().parameters())


def test_every_parameter_is_as_large_as_its_largest_use() -> None:
    found, _ = opened("metaformer")
    shared = supernet("metaformer")
    rows = found.sample(np.random.default_rng(1), 300)
    used: dict[str, tuple[int, ...]] = {}
    for row in rows:
        for placement in found.decode(row).blocks():
            for role in skeleton(placement.part, placement.shape).roles.values():
                name = f"{placement.path}|{role.key}".replace(".", "/")
                used[name] = tuple(map(max, used.get(name, role.shape), role.shape))
    assert used == {name: tuple(parameter.shape) for name, parameter in shared.named_parameters()}


def test_a_supernet_does_not_run_by_itself() -> None:
    with pytest.raises(TypeError, match="sub-network"):
        supernet("mobilenet")(images(torch.float32))
