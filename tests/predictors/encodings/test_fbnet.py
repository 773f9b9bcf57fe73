"""FBNet: its places, and amounts counted on built blocks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from predictors.encodings.fbnet import OPERATORS, PLACES, FBNet, Place
from searchspaces.cost import module_cost

SPACE = FBNet()


def block(place: Place, kernel: int, expansion: int, groups: int) -> nn.Sequential:
    """The block's convolutions, written down once more."""
    width, pad = place.inputs * expansion, kernel // 2
    return nn.Sequential(
        nn.Conv2d(place.inputs, width, 1, groups=groups, bias=False),
        nn.Conv2d(width, width, kernel, place.stride, pad, groups=width, bias=False),
        nn.Conv2d(width, place.outputs, 1, groups=groups, bias=False),
    )


@pytest.mark.parametrize("number", [0, 1, 6, 21])
@pytest.mark.parametrize("option", range(8))
def test_amounts_are_those_of_the_convolutions(number: int, option: int) -> None:
    kernel, expansion = int(OPERATORS[option][1]), int(OPERATORS[option].split("_")[1][1])
    groups = 2 if OPERATORS[option].endswith("g2") else 1
    place = PLACES[number]
    rows = np.full((1, len(PLACES)), OPERATORS.index("skip"))
    chosen = rows.copy()
    chosen[0, number] = option
    with torch.device("meta"):
        expected = module_cost(block(place, kernel, expansion, groups), (place.inputs, place.pixels, place.pixels))
    added = SPACE.physics(chosen)[0] - SPACE.physics(rows)[0]
    skipped = place.inputs * place.outputs if place.stride > 1 or place.inputs != place.outputs else 0
    after = (place.pixels // place.stride) ** 2
    np.testing.assert_allclose(added[0] + skipped * after, expected.macs, rtol=1e-4, atol=2e4)
    np.testing.assert_allclose(added[1], expected.depthwise_macs, rtol=1e-4, atol=2e3)
    np.testing.assert_allclose(added[3] + skipped, expected.parameters, rtol=1e-4, atol=500)


def test_equal_places_share_their_tokens() -> None:
    rows = np.zeros((1, len(PLACES)), dtype=np.int64)
    tokens = SPACE.tokens(rows)[0]
    assert tokens[2] == tokens[3] == tokens[4] != tokens[1]
    assert SPACE.tokens(rows + OPERATORS.index("skip"))[0, 3] == -1


def test_the_stages_end_as_published() -> None:
    assert len(PLACES) == 22 and PLACES[0].pixels == 112
    assert (PLACES[-1].pixels, PLACES[-1].inputs, PLACES[-1].outputs) == (7, 184, 352)
