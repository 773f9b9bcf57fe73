"""The spatial shift against scipy's, and the perceptron around it."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import shift
from torch import Tensor
from torch.nn import functional as F

from searchspaces.channel_mixers.enhanced_ffn import STEPS, EnhancedFfn
from tests.searchspaces.twins import multiplications, twin_of


@pytest.mark.oracle("enhanced_ffn")
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


@twin_of(
    *itertools.product(
        [EnhancedFfn(ratio=1.5, directions=4), EnhancedFfn(ratio=1.5, directions=8)], [(3, 5, 4), (5, 1, 3), (8, 2, 6)]
    ),
)
def shifted(part: EnhancedFfn, module: Any, x: Tensor) -> Tensor:
    """Hidden channels from the position before them in their direction."""
    (height, width), hidden = x.shape[2:], F.gelu(F.conv2d(x, module.expand.weight, module.expand.bias))
    moved = torch.zeros_like(hidden)
    for c, i, j in itertools.product(range(hidden.shape[1]), range(height), range(width)):
        down, right = STEPS[c % part.directions]
        if 0 <= i - down < height and 0 <= j - right < width:
            moved[:, c, i, j] = hidden[:, c, i - down, j - right]
    return F.conv2d(moved, module.project.weight, module.project.bias)


def test_the_directions_are_all_neighbors() -> None:
    assert len(set(STEPS)) == 8
    assert {abs(down) + abs(right) for down, right in STEPS[:4]} == {1}
    assert {(abs(down), abs(right)) for down, right in STEPS[4:]} == {(1, 1)}


def test_the_shift_multiplies_nothing() -> None:
    assert multiplications(EnhancedFfn(ratio=2.0), (6, 4, 5)) == 2 * 6 * 12 * 20
