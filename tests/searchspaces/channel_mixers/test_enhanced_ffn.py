"""The spatial shift against scipy's, and the perceptron around it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.ndimage import shift
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from searchspaces.channel_mixers.enhanced_ffn import STEPS, EnhancedFfn


@pytest.mark.parametrize("directions", [4, 8])
@pytest.mark.parametrize("shape", [(3, 5, 4), (5, 1, 3), (2, 1, 1), (8, 2, 6)])
def test_hidden_channels_move_as_scipy_moves_them(directions: Any, shape: Any) -> None:
    torch.manual_seed(0)
    module: Any = EnhancedFfn(ratio=1.5, directions=directions).build(shape).double()
    x = torch.randn(2, *shape, dtype=torch.float64)
    hidden = F.gelu(F.conv2d(x, module.expand.weight, module.expand.bias)).detach().numpy()
    moved = np.stack(
        [
            np.stack([shift(image, STEPS[channel % directions], order=0) for channel, image in enumerate(sample)])
            for sample in hidden
        ]
    )
    expected = F.conv2d(torch.from_numpy(moved), module.project.weight, module.project.bias)
    torch.testing.assert_close(module(x), expected, rtol=1e-12, atol=1e-12)


def test_the_directions_are_all_neighbors() -> None:
    assert len(set(STEPS)) == 8
    assert {abs(down) + abs(right) for down, right in STEPS[:4]} == {1}
    assert {(abs(down), abs(right)) for down, right in STEPS[4:]} == {(1, 1)}


def test_the_shift_multiplies_nothing() -> None:
    with torch.device("meta"):
        module, x = EnhancedFfn(ratio=2.0).build((6, 4, 5)), torch.randn(1, 6, 4, 5)
    with FlopCounterMode(display=False) as counter:
        module(x)
    assert counter.get_total_flops() // 2 == 2 * 6 * 12 * 20


@pytest.mark.parametrize("fields", [{"ratio": 0}, {"directions": 3}, {"activation": "tanh"}])
def test_values_out_of_bounds_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        EnhancedFfn(**fields)
