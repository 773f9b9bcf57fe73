"""The gate against its equations."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from searchspaces.gates.squeeze_excitation import SqueezeExcitation


def test_each_channel_is_scaled_by_a_function_of_the_means() -> None:
    module: Any = SqueezeExcitation(reduction=2).build((5, 3, 2)).double()
    x = torch.randn(2, 5, 3, 2, dtype=torch.float64)
    for sample, scaled in zip(x, module(x), strict=True):
        means = torch.stack([channel.sum() / 6 for channel in sample])
        hidden = (module.reduce.weight[:, :, 0, 0] @ means + module.reduce.bias).clamp(min=0)
        scale = 1 / (1 + (-(module.expand.weight[:, :, 0, 0] @ hidden + module.expand.bias)).exp())
        torch.testing.assert_close(scaled, sample * scale[:, None, None], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("channels", "reduction", "hidden"), [(16, 4, 4), (3, 4, 1), (7, 2, 3), (5, 1, 5)])
def test_the_reduction_sets_the_hidden_width(channels: int, reduction: int, hidden: int) -> None:
    module: Any = SqueezeExcitation(reduction=reduction).build((channels, 2, 2))
    assert module.reduce.weight.shape == (hidden, channels, 1, 1)
