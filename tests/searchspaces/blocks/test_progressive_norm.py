"""Normalization that changes while it is trained, alone and in sub-networks; and the augmented shortcut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import erf
from torch import Tensor, nn

from searchspaces.architecture import Architecture
from searchspaces.blocks._progressive_norm import ProgressiveNorm
from searchspaces.blocks._shortcut import AugmentedShortcut
from searchspaces.blocks.channel_mixing import ChannelMixing
from searchspaces.blocks.classifier import Classifier
from searchspaces.blocks.token_mixing import TokenMixing
from searchspaces.channel_mixers.mlp import Mlp
from searchspaces.fused import fused
from searchspaces.mixers.depthwise import Depthwise
from searchspaces.networks.metaformer import MetaFormerBlock
from searchspaces.placements import Placements
from searchspaces.space import SearchSpace
from searchspaces.supernet import Subnet, Supernet

SHAPE = (4, 5, 3)
NETWORK = Architecture(
    SHAPE,
    (
        TokenMixing(mixer=Depthwise(), norm="progressive"),
        ChannelMixing(mixer=Mlp(), norm="progressive"),
        Classifier(classes=3),
    ),
)


def trained(channels: int, shape: tuple[int, ...]) -> ProgressiveNorm:
    """A normalization with parameters and statistics of its own."""
    torch.manual_seed(0)
    norm = ProgressiveNorm(channels).double()
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    for _ in range(3):
        norm(2 * torch.randn(6, channels, *shape, dtype=torch.float64) + 1)
    return norm


def affine(layer: Any, x: Any) -> Any:
    return layer.weight.detach().numpy()[:, None, None] * x + layer.bias.detach().numpy()[:, None, None]


@pytest.mark.parametrize("fraction", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("shape", [(5, 3), (1, 2), (4, 4)])
def test_in_training_it_lies_between_both_normalizations(fraction: float, shape: tuple[int, ...]) -> None:
    norm = trained(5, shape).train()
    norm.progress(fraction)
    x = torch.randn(3, 5, *shape, dtype=torch.float64)
    values = x.numpy()

    def standard(axes: tuple[int, ...]) -> Any:
        return (values - values.mean(axes, keepdims=True)) / np.sqrt(values.var(axes, keepdims=True) + 1e-5)

    layer = affine(norm.layer, standard((1, 2, 3)))
    batch = affine(norm.batch, standard((0, 2, 3))) + norm.eta.item() * values
    expected = (1 - fraction) * layer + fraction * batch
    np.testing.assert_allclose(norm(x).detach().numpy(), expected, rtol=1e-10, atol=1e-12)


def test_gradients_reach_the_layer_normalization_only_while_it_has_a_share() -> None:
    norm, x = trained(4, (3, 3)).train(), torch.randn(2, 4, 3, 3, dtype=torch.float64)
    for fraction, reached in ((0.5, True), (1.0, False)):
        norm.progress(fraction)
        norm.zero_grad()
        norm(x).square().sum().backward()
        assert norm.layer.weight.grad is not None and norm.layer.weight.grad.any() == reached
        assert norm.eta.grad is not None and norm.eta.grad.any()


@pytest.mark.parametrize("shape", [(5, 3), (1, 2)])
@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_fused_it_is_one_batch_normalization(fraction: float, shape: tuple[int, ...]) -> None:
    norm = trained(5, shape).eval()
    norm.progress(fraction)
    x, before = torch.randn(3, 5, *shape, dtype=torch.float64), norm.batch.weight.clone()
    plain = norm.fuse()
    assert type(plain) is nn.BatchNorm2d
    torch.testing.assert_close(plain(x), norm(x), rtol=1e-10, atol=1e-10)
    assert torch.equal(norm.batch.weight, before)


def test_a_network_is_fused_to_plain_normalizations() -> None:
    torch.manual_seed(0)
    network = NETWORK.build().double()
    for _ in range(3):
        network(torch.randn(8, *SHAPE, dtype=torch.float64))
    x = torch.randn(3, *SHAPE, dtype=torch.float64)
    found = fused(network.eval())
    assert not any(isinstance(module, ProgressiveNorm | nn.GroupNorm) for module in found.modules())
    torch.testing.assert_close(found(x), network(x), rtol=1e-9, atol=1e-10)


def shares(subnet: Subnet) -> list[float]:
    return [subnet.statistics(index)["norm.layer_share"].item() for index in range(2)]


@pytest.fixture
def supernet() -> Supernet:
    torch.manual_seed(0)
    return Supernet(Placements(SearchSpace(SHAPE, NETWORK.layers)))


def naive(supernet: Supernet, fraction: float) -> nn.Module:
    """The standalone network with the supernet's weights, its normalizations set by hand."""
    network = NETWORK.build()
    network.load_state_dict(supernet.subnet(NETWORK).state())
    for module in network.modules():
        if isinstance(module, ProgressiveNorm):
            module.progress(fraction)
    return network.train()


def images(seed: int = 0) -> Tensor:
    return torch.randn(6, *SHAPE, generator=torch.Generator().manual_seed(seed))


def test_sub_networks_share_modules_but_not_their_progress(supernet: Supernet) -> None:
    supernet.progress = 0.25
    early = supernet.subnet(NETWORK).train()
    supernet.progress = 0.75
    late = supernet.subnet(NETWORK).train()
    for subnet, fraction in ((early, 0.25), (late, 0.75), (early, 0.25)):
        torch.testing.assert_close(subnet(images()), naive(supernet, fraction)(images()))
    assert shares(early) == [0.75, 0.75] and shares(late) == [0.25, 0.25]


def test_without_a_training_sub_networks_are_as_at_its_end(supernet: Supernet) -> None:
    assert shares(supernet.subnet(NETWORK)) == [0.0, 0.0]
    assert shares(supernet.specialize(NETWORK).subnet(NETWORK)) == [0.0, 0.0]
    torch.testing.assert_close(supernet.subnet(NETWORK).train()(images()), naive(supernet, 1.0)(images()))


def test_recalibration_ends_the_progress(supernet: Supernet) -> None:
    supernet.progress = 0.25
    subnet, reference = supernet.subnet(NETWORK), Supernet.subnet(supernet, NETWORK)
    subnet.recalibrate([images(1), images(2)])
    reference.progress(1.0)
    reference.recalibrate([images(1), images(2)])
    assert shares(subnet) == [0.0, 0.0]
    assert torch.equal(subnet(images()), reference(images()))
    alone = NETWORK.build()
    alone.load_state_dict(subnet.state())
    torch.testing.assert_close(fused(alone)(images()), subnet(images()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 5, 40])
def test_the_augmented_shortcut_adds_a_bottleneck(channels: int) -> None:
    module: Any = AugmentedShortcut(channels).double()
    x = torch.randn(2, channels, 3, 2, dtype=torch.float64)
    for i, j in np.ndindex(3, 2):
        token = x[:, :, i, j].numpy()
        hidden = token @ module.reduce.weight[:, :, 0, 0].detach().numpy().T + module.reduce.bias.detach().numpy()
        hidden = hidden * (1 + erf(hidden / 2**0.5)) / 2
        more = hidden @ module.expand.weight[:, :, 0, 0].detach().numpy().T + module.expand.bias.detach().numpy()
        np.testing.assert_allclose(module(x)[:, :, i, j].detach().numpy(), token + more, rtol=1e-9, atol=1e-12)
    assert module.reduce.out_channels == max(1, channels // 16)


def test_the_shortcut_is_a_choice_beside_the_token_mixer() -> None:
    block = MetaFormerBlock(mixer=Depthwise(), channel_mixer=Mlp(), shortcut="augmented")
    mixing, channels = (half.build(SHAPE) for half in block.halves())
    assert isinstance(mixing.shortcut, AugmentedShortcut) and isinstance(channels.shortcut, nn.Identity)
    x = torch.randn(2, *SHAPE)
    mixing.eval()
    torch.testing.assert_close(mixing(x), mixing.shortcut(x) + mixing.mixer(mixing.norm(x)))
