"""VoVNetV2's gate against its formula in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from searchspaces.gates.effective_squeeze_excitation import EffectiveSqueezeExcitation


@pytest.mark.oracle("effective_squeeze_excitation")
def test_each_channel_is_scaled_by_the_hard_sigmoid_of_a_layer_on_the_means() -> None:
    torch.manual_seed(0)
    gate = EffectiveSqueezeExcitation().build((5, 3, 4)).double()
    with torch.no_grad():
        for parameter in gate.parameters():
            parameter.mul_(8)  # so that some factors reach 0 and 1
    x = torch.randn(6, 5, 3, 4, dtype=torch.float64)
    weight, bias = (gate.get_parameter(f"excite.{name}").detach().numpy() for name in ("weight", "bias"))
    score = x.numpy().mean((2, 3)) @ weight[:, :, 0, 0].T + bias
    factor = np.minimum(np.maximum(score + 3, 0), 6) / 6
    assert (factor == 0).any() and (factor == 1).any() and ((factor > 0) & (factor < 1)).any()
    np.testing.assert_allclose(gate(x).detach().numpy(), x.numpy() * factor[..., None, None], rtol=1e-12, atol=1e-13)
