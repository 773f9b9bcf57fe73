"""Training-free proxies: each against a slow direct computation of its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from predictors.proxies._role import Proxy
from predictors.proxies.grad_norm import GradNorm
from predictors.proxies.jacob_cov import JacobCov
from predictors.proxies.macs import Macs
from predictors.proxies.naswot import Naswot
from predictors.proxies.parameters import Parameters
from predictors.proxies.snip import Snip
from predictors.proxies.synflow import Synflow
from predictors.proxies.zico import Zico
from searchspaces.cost import architecture_cost
from searchspaces.registry import kinds, resolve
from tests.searchspaces.spaces import FAMILIES, SIGNATURE, space

KINDS = kinds(Proxy)


def plain(seed: int = 0) -> nn.Sequential:
    """A small network without normalization, in double precision."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 9, 4, bias=False)
    ).double()


def batches(count: int = 2, size: int = 5) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(size, 2, 3, 3, dtype=torch.float64, generator=generator), torch.arange(size) % 4)
        for _ in range(count)
    ]


def finite_differences(network: nn.Module, batch: tuple[Tensor, Tensor], step: float = 1e-6) -> dict[str, Tensor]:
    """Gradients of the cross-entropy, one weight after the other."""
    found = {}
    for name, parameter in network.named_parameters():
        gradient = torch.zeros_like(parameter)
        for index in np.ndindex(*parameter.shape):
            values = []
            for sign in (1, -1):
                with torch.no_grad():
                    parameter[index] += sign * step
                    values.append(F.cross_entropy(network(batch[0]), batch[1]).item())
                    parameter[index] -= sign * step
            gradient[index] = (values[0] - values[1]) / (2 * step)
        found[name] = gradient
    return found


def test_grad_norm_sums_the_norms_of_the_parameters() -> None:
    slow = finite_differences(plain(), batches()[0])
    expected = sum(math.sqrt(float((gradient**2).sum())) for gradient in slow.values())
    assert GradNorm().score(plain(), batches()) == pytest.approx(expected, rel=1e-6)


def test_snip_sums_weight_times_gradient() -> None:
    slow, weights = (
        finite_differences(plain(), batches()[0]),
        {name: weight.detach() for name, weight in plain().named_parameters()},
    )
    expected = sum(
        abs(float(w) * float(g)) for n in slow for w, g in zip(weights[n].flatten(), slow[n].flatten(), strict=True)
    )
    assert Snip().score(plain(), batches()) == pytest.approx(expected, rel=1e-6)


def test_zico_sets_the_mean_of_gradients_against_their_deviation() -> None:
    slow = [finite_differences(plain(), batch) for batch in batches(3)]
    expected = 0.0
    for name in slow[0]:
        sizes = np.abs(np.stack([gradients[name].numpy() for gradients in slow]))
        spread = np.sqrt(((sizes - sizes.mean(axis=0)) ** 2).mean(axis=0))
        expected += math.log(sum(m / s for m, s in zip(sizes.mean(axis=0).flat, spread.flat, strict=True) if s > 1e-9))
    assert Zico().score(plain(), batches(3)) == pytest.approx(expected, rel=1e-3)


def test_synflow_is_the_sum_over_all_paths_once_for_each_layer() -> None:
    network = plain()
    kernel, matrix = network[0].weight.abs(), network[3].weight.abs()
    flow = 0.0
    for out in range(3):
        for row, column in np.ndindex(3, 3):
            taps = [(r, c) for r in range(3) for c in range(3) if 0 <= row + r - 1 < 3 and 0 <= column + c - 1 < 3]
            hidden = sum(float(kernel[out, source, r, c]) for source in range(2) for r, c in taps)
            flow += hidden * float(matrix[:, out * 9 + row * 3 + column].sum())
    assert Synflow().score(network, batches()) == pytest.approx(2 * flow, rel=1e-9)


def test_synflow_needs_no_data_and_passes_normalizations() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 3, 1, bias=False), nn.BatchNorm2d(3, eps=1e-12)).double()
    network(torch.randn(4, 2, 3, 3, dtype=torch.float64))
    flow = float(network[0].weight.abs().sum()) * 9
    assert Synflow().score(network, batches()) == pytest.approx(2 * flow, rel=1e-9)
    other = [(5 * inputs, targets) for inputs, targets in batches()]
    assert Synflow().score(network, other) == Synflow().score(network, batches())


def test_naswot_counts_the_units_on_which_codes_agree() -> None:
    inputs = batches()[0][0]
    on = plain()[0](inputs).flatten(1) > 0
    kernel = [[sum(bool(p) == bool(q) for p, q in zip(a, b, strict=True)) for b in on] for a in on]
    expected = math.log(abs(np.linalg.det(np.array(kernel, dtype=float))))
    assert Naswot().score(plain(), batches()) == pytest.approx(expected, rel=1e-9)
    doubled = [(torch.cat([inputs, inputs[:1]]), torch.arange(6) % 4)] * 2
    assert Naswot().score(plain(), doubled) < expected - 10


def test_naswot_says_that_it_needs_activations() -> None:
    with pytest.raises(ValueError, match="activation"):
        Naswot().score(nn.Sequential(nn.Flatten(), nn.Linear(18, 4)).double(), batches())


def test_jacob_cov_looks_at_the_eigenvalues_of_correlated_jacobians() -> None:
    inputs, network = batches()[0][0], plain()
    jacobians = []
    for sample in inputs:
        rows = torch.autograd.functional.jacobian(lambda x: network(x[None])[0], sample)
        jacobians.append(rows.sum(dim=0).flatten().numpy())
    eigenvalues = np.linalg.eigvals(np.corrcoef(np.array(jacobians))).real + 1e-5
    expected = -sum(math.log(value) + 1 / value for value in eigenvalues)
    assert JacobCov().score(network, batches()) == pytest.approx(expected, rel=1e-6)


def test_the_trivial_ones_count() -> None:
    assert Parameters().score(plain(), batches()) == 2 * 3 * 9 + 27 * 4
    assert Macs().score(plain(), batches()) == 2 * 3 * 9 * 9 + 27 * 4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_proxy_judges_every_family_and_leaves_the_network_as_it_was(kind: str, family: str) -> None:
    opened = space(FAMILIES[family])
    architecture = opened.decode(opened.sample(np.random.default_rng(0), 1)[0])
    network = architecture.build(quantize=False).eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    data = [(torch.randn(4, *SIGNATURE.input_shape), torch.arange(4) % 2) for _ in range(2)]
    proxy = resolve(Proxy, kind)()
    first = proxy.score(network, data)
    assert math.isfinite(first)
    assert proxy.score(network, data) == first
    assert not network.training
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    if kind == "macs":
        assert first == architecture_cost(architecture).macs


@pytest.mark.parametrize("kind", KINDS)
def test_one_batch_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="two batches"):
        resolve(Proxy, kind)().score(plain(), batches(1))
