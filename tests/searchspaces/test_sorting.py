"""Sorting hidden channels: the largest network computes what it did, and the important channels lead."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from searchspaces.architecture import Architecture
from searchspaces.extremes import extremes
from searchspaces.placements import Placements
from searchspaces.sorting import sort_hidden, sortable
from searchspaces.space import SearchSpace
from searchspaces.supernet import Supernet
from tests.searchspaces.spaces import choice, space

GATES = choice({"kind": "none"}, {"kind": "squeeze_excitation"})


def mobilenet(expansion: Any, gate: Any = GATES) -> dict[str, Any]:
    block = {"kernel": choice(3, 5), "expansion": expansion, "gate": gate}
    stage = {"depth": choice(1, 2), "width": choice(6, 8), "block": block}
    return {"kind": "mobilenet", "stem": {"width": choice(4, 6)}, "stages": [stage], "head": 12}


def metaformer(channel_mixer: Any) -> dict[str, Any]:
    block = {"mixer": {"kind": "pooling"}, "channel_mixer": channel_mixer}
    stages = [{"depth": 2, "width": choice(5, 8), "block": block}]
    return {"kind": "metaformer", "stem": {"patch": 2, "width": 6}, "stages": stages}


MIXERS = choice({"kind": "mlp", "ratio": choice(1.5, 3.0)}, {"kind": "gated_mlp", "ratio": choice(1.0, 2.0)})
SPACES = {"mobilenet": mobilenet(choice(2.0, 3.0)), "metaformer": metaformer(MIXERS)}


def untrained(description: dict[str, Any]) -> tuple[Supernet, Placements]:
    """Shared weights whose normalizations are no identities."""
    torch.manual_seed(0)
    placements = Placements(space(description))
    supernet = Supernet(placements)
    with torch.no_grad():
        for parameter in supernet.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return supernet, placements


def wide(placements: Placements) -> list[Architecture]:
    """All architectures with the largest widths and ratios."""
    found: SearchSpace = placements.space
    _, largest = extremes(placements)
    rows = found.sample(np.random.default_rng(0), 30)
    for number, decision in enumerate(found.decisions):
        if decision.field in ("width", "expansion", "ratio"):
            rows[:, number] = len(decision.options) - 1
    return [found.decode(row) for row in [largest, *rows]]


@pytest.mark.parametrize("family", SPACES)
def test_networks_of_full_width_compute_what_they_did(family: str) -> None:
    supernet, placements = untrained(SPACES[family])
    x = torch.randn(8, *placements.space.input_shape)
    networks = wide(placements)
    before = [supernet.subnet(network)(x) for network in networks]
    old = [parameter.detach().clone() for parameter in supernet.parameters()]
    assert sort_hidden(supernet, placements) == {"mobilenet": 2, "metaformer": 4}[family]
    assert any(not torch.equal(a, b) for a, b in zip(old, supernet.parameters(), strict=True))
    for network, output in zip(networks, before, strict=True):
        torch.testing.assert_close(supernet.subnet(network)(x), output, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", SPACES)
def test_important_channels_lead_in_every_parameter(family: str) -> None:
    supernet, placements = untrained(SPACES[family])
    original = supernet.frozen()
    sort_hidden(supernet, placements)
    for path, units in placements.by_path.items():
        for axes in sortable(units):
            reader, axis = next(iter(axes.items()))
            weight = original.whole(path, reader)
            importance = [float(weight.select(axis, n).abs().sum()) for n in range(weight.shape[axis])]
            order = sorted(range(len(importance)), key=lambda n: -importance[n])
            assert order != list(range(len(order)))
            for key, along in axes.items():
                pieces = [original.whole(path, key).select(along, n) for n in order]
                assert torch.equal(supernet.whole(path, key), torch.stack(pieces, along)), key


def test_sorting_twice_is_sorting_once() -> None:
    supernet, placements = untrained(SPACES["mobilenet"])
    sort_hidden(supernet, placements)
    once = supernet.frozen()
    sort_hidden(supernet, placements)
    assert all(torch.equal(a, b) for a, b in zip(once.parameters(), supernet.parameters(), strict=True))


@pytest.mark.parametrize(
    "description",
    [mobilenet(choice(1.0, 2.0)), mobilenet(2.0, {"kind": "efficient_channel_attention"})],
    ids=["no expansion", "a gate across channels"],
)
def test_where_the_order_of_channels_matters_nothing_is_sorted(description: dict[str, Any]) -> None:
    supernet, placements = untrained(description)
    before = supernet.frozen()
    assert sort_hidden(supernet, placements) == 0
    assert all(torch.equal(a, b) for a, b in zip(before.parameters(), supernet.parameters(), strict=True))
