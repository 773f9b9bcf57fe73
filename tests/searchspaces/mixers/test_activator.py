"""The activator gating unit in numpy, position by position."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import erf, expit

from searchspaces.mixers.activator import Activator

FUNCTIONS: dict[str, Any] = {
    "gelu": lambda z: z * (1 + erf(z / np.sqrt(2))) / 2,
    "silu": lambda z: z * expit(z),
    "relu": lambda z: np.maximum(z, 0),
}


@pytest.mark.oracle("activator")
@pytest.mark.parametrize("activation", ["gelu", "silu", "relu"])
@pytest.mark.parametrize("shape", [(5, 3, 2), (1, 2, 2)])
def test_the_unit_multiplies_two_normalized_projections(activation: Any, shape: Any) -> None:
    torch.manual_seed(0)
    module: Any = Activator(ratio=1.7, activation=activation).build(shape).double()
    torch.nn.init.normal_(module.norm.weight)
    torch.nn.init.normal_(module.norm.bias)
    p = {name: parameter.detach().numpy() for name, parameter in module.named_parameters()}

    def normalized(z: Any) -> Any:
        return (z - z.mean()) / np.sqrt(z.var() + module.norm.eps) * p["norm.weight"] + p["norm.bias"]

    x = torch.randn(2, *shape, dtype=torch.float64)
    found = module(x).detach().numpy()
    for i, j in np.ndindex(*shape[1:]):
        token = x[1, :, i, j].numpy()
        gate = normalized(FUNCTIONS[activation](p["gate.weight"] @ token + p["gate.bias"]))
        value = normalized(p["value.weight"] @ token + p["value.bias"])
        expected = p["project.weight"] @ (gate * value) + p["project.bias"]
        np.testing.assert_allclose(found[1, :, i, j], expected, rtol=1e-10, atol=1e-10)
