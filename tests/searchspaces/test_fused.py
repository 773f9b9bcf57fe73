"""The inference form of whole networks: the same function, with fewer parts."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from searchspaces.architecture import Architecture
from searchspaces.blocks.classifier import Classifier
from searchspaces.blocks.token_mixing import TokenMixing
from searchspaces.fused import fused
from searchspaces.mixers._role import TokenMixer
from searchspaces.registry import kinds, resolve

SHAPE = (6, 7, 5)
PARTS = [resolve(TokenMixer, kind)() for kind in kinds(TokenMixer)]
IMAGE = [part for part in PARTS if 2 in part.spatial_ranks]
FUSING = [part for part in IMAGE if any(hasattr(module, "fuse") for module in part.build(SHAPE).modules())]


def trained(part: TokenMixer) -> nn.Module:
    """A network around a mixer whose statistics have seen data."""
    torch.manual_seed(0)
    network = Architecture(SHAPE, (TokenMixing(mixer=part), Classifier(classes=3))).build().double()
    for _ in range(3):
        network(torch.randn(8, *SHAPE, dtype=torch.float64))
    return network.eval()


def test_some_operators_have_an_inference_form() -> None:
    assert len(FUSING) >= 3


@pytest.mark.parametrize("part", FUSING, ids=lambda part: part.kind())
def test_a_fused_network_computes_the_same_and_has_nothing_left_to_fuse(part: TokenMixer) -> None:
    network = trained(part)
    before, x = {k: v.clone() for k, v in network.state_dict().items()}, torch.randn(4, *SHAPE, dtype=torch.float64)
    found = fused(network)
    torch.testing.assert_close(found(x), network(x), rtol=1e-9, atol=1e-10)
    assert not found.training
    assert [type(module) for module in fused(found).modules()] == [type(module) for module in found.modules()]
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_network_without_such_parts_is_copied() -> None:
    network = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    found = fused(network)
    assert found is not network
    x = torch.randn(4, 3)
    assert torch.equal(found(x), network(x))
