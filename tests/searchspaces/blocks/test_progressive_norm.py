"""Progressive re-parameterized batch normalization: both ends, the way between, and the merged form."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from searchspaces.blocks._progressive_norm import ProgressiveNorm


@pytest.fixture
def norm() -> Any:
    """In double precision, with random parameters and the statistics of a few batches."""
    torch.manual_seed(0)
    module = ProgressiveNorm(3).double()
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    for _ in range(3):
        module(1 + 2 * torch.randn(4, 3, 5, 4).double())
    return module.eval()


@pytest.mark.parametrize("share", [1.0, 0.75, 0.25, 0.0])
def test_the_share_blends_layer_and_batch_normalization(norm: Any, share: float) -> None:
    norm.layer_share = share
    x = torch.randn(2, 3, 5, 4).double()
    mean, variance = x.mean((1, 2, 3), keepdim=True), x.var((1, 2, 3), unbiased=False, keepdim=True)
    weight, bias = norm.layer.weight[:, None, None], norm.layer.bias[:, None, None]
    layer = (x - mean) / (variance + norm.layer.eps).sqrt() * weight + bias
    mean, variance = norm.batch.running_mean[:, None, None], norm.batch.running_var[:, None, None]
    weight, bias = norm.batch.weight[:, None, None], norm.batch.bias[:, None, None]
    batch = (x - mean) / (variance + norm.batch.eps).sqrt() * weight + bias + norm.eta * x
    torch.testing.assert_close(norm(x), share * layer + (1 - share) * batch, rtol=1e-12, atol=1e-12)


def test_it_ends_as_a_plain_batch_normalization(norm: Any) -> None:
    norm.layer_share = 0.0
    x, fused = torch.randn(2, 3, 5, 4).double(), norm.fuse()
    assert type(fused) is nn.BatchNorm2d
    torch.testing.assert_close(fused(x), norm(x), rtol=1e-10, atol=1e-10)


def test_layer_normalization_cannot_be_merged(norm: Any) -> None:
    norm.layer_share = 0.1
    with pytest.raises(ValueError, match="must reach 0"):
        norm.fuse()


def test_batch_statistics_are_collected_from_the_beginning(norm: Any) -> None:
    before = norm.batch.running_mean.clone()
    norm.layer_share = 1.0
    norm.train()(torch.randn(2, 3, 5, 4).double() + 5)
    assert (norm.batch.running_mean > before).all()
