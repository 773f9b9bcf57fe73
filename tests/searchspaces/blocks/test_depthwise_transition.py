"""The pooling of PiT and SReT, against the published grouped convolution."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from searchspaces.blocks.depthwise_transition import DepthwiseTransition


@pytest.mark.parametrize("stride", [2, 4])
@pytest.mark.parametrize("multiple", [1, 2, 3])
def test_it_is_the_published_convolution_with_another_numbering_of_the_channels(stride: int, multiple: int) -> None:
    channels, width = 4, 4 * multiple
    module: Any = DepthwiseTransition(width=width, stride=stride).build((channels, 9, 8)).double()
    published = nn.Conv2d(channels, width, stride + 1, stride, stride // 2, groups=channels).double()
    numbering = torch.arange(width).view(multiple, channels).T.flatten()
    with torch.no_grad():
        published.weight.copy_(module.convolution.weight[numbering])
        published.bias.copy_(module.convolution.bias[numbering])  # type: ignore[union-attr]
    x = torch.randn(2, channels, 9, 8, dtype=torch.float64)
    torch.testing.assert_close(module(x)[:, numbering], published(x), rtol=1e-12, atol=1e-12)


def test_a_width_that_is_no_multiple_takes_the_leading_channels() -> None:
    wide: Any = DepthwiseTransition(width=12).build((4, 5, 5))
    narrow: Any = DepthwiseTransition(width=7).build((4, 5, 5))
    for ours, theirs in zip(narrow.parameters(), wide.parameters(), strict=True):
        ours.data.copy_(theirs.data[:7])
    x = torch.randn(2, 4, 5, 5)
    torch.testing.assert_close(narrow(x), wide(x)[:, :7])


def test_without_a_width_the_channels_stay() -> None:
    assert DepthwiseTransition().output_shape((5, 9, 8)) == (5, 5, 4)
