"""Channel mixers against their equations, position by position."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from searchspaces.channel_mixers.gated_mlp import GatedMlp
from searchspaces.channel_mixers.mlp import Mlp

FUNCTIONS: dict[str, Any] = {
    "gelu": F.gelu,
    "relu": F.relu,
    "silu": lambda z: z * torch.sigmoid(z),
    "hard_swish": lambda z: z * (z + 3).clamp(0, 6) / 6,
    "sigmoid": torch.sigmoid,
    "identity": lambda z: z,
}


def matrix(layer: Any) -> Tensor:
    return layer.weight[:, :, 0, 0]


@pytest.mark.parametrize("activation", ["gelu", "relu", "silu", "hard_swish"])
def test_the_mlp_is_two_matrices_at_each_position(activation: Any) -> None:
    module: Any = Mlp(ratio=1.5, activation=activation).build((5, 3, 2)).double()
    x = torch.randn(2, 5, 3, 2, dtype=torch.float64)
    for i, j in torch.cartesian_prod(torch.arange(3), torch.arange(2)).tolist():
        hidden = FUNCTIONS[activation](matrix(module.expand) @ x[1, :, i, j] + module.expand.bias)
        expected = matrix(module.project) @ hidden + module.project.bias
        torch.testing.assert_close(module(x)[1, :, i, j], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("activation", ["sigmoid", "identity", "relu", "gelu", "silu"])
def test_the_gated_mlp_multiplies_gate_and_value(activation: Any) -> None:
    module: Any = GatedMlp(ratio=1.5, activation=activation).build((5, 3, 2)).double()
    x = torch.randn(2, 5, 3, 2, dtype=torch.float64)
    for i, j in torch.cartesian_prod(torch.arange(3), torch.arange(2)).tolist():
        gate = FUNCTIONS[activation](matrix(module.gate) @ x[1, :, i, j])
        expected = matrix(module.project) @ (gate * (matrix(module.value) @ x[1, :, i, j]))
        torch.testing.assert_close(module(x)[1, :, i, j], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("part_class", [Mlp, GatedMlp])
@pytest.mark.parametrize(("channels", "ratio", "hidden"), [(5, 1.5, 8), (1, 0.1, 1), (7, 2.0, 14), (24, 2, 48)])
def test_the_ratio_sets_the_hidden_width(part_class: Any, channels: int, ratio: float, hidden: int) -> None:
    module = part_class(ratio=ratio).build((channels, 2, 2))
    assert module.project.weight.shape == (channels, hidden, 1, 1)
