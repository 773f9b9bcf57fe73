"""LeViT against its published sizes."""

from __future__ import annotations

import numpy as np
import pytest

from searchspaces.blocks.convolutional_stem import ConvolutionalStem
from searchspaces.cost import architecture_cost
from searchspaces.networks._role import Signature
from tests.searchspaces.spaces import choice, space

PUBLISHED = {
    "128S": ((128, 256, 384), 16, (4, 6, 8), (2, 3, 4), 7.8, 305),
    "128": ((128, 256, 384), 16, (4, 8, 12), (4, 4, 4), 9.2, 406),
    "192": ((192, 288, 384), 32, (3, 5, 6), (4, 4, 4), 10.9, 658),
    "256": ((256, 384, 512), 32, (4, 6, 8), (4, 4, 4), 18.9, 1120),
    "384": ((384, 512, 768), 32, (6, 9, 12), (4, 4, 4), 39.1, 2353),
}
"""Widths, key width, heads, depths; millions of parameters and of multiply-accumulates (arXiv:2104.01136, table 3)."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_and_macs_are_those_of_the_paper(name: str) -> None:
    widths, key_width, heads, depths, parameters, macs = PUBLISHED[name]
    stages = [
        {"depth": d, "width": w, "block": {"heads": n, "key_width": key_width}, "shrink": {"key_width": key_width}}
        for w, n, d in zip(widths, heads, depths, strict=True)
    ]
    found = space({"kind": "levit", "stages": stages}, Signature((3, 224, 224), 1000))
    cost = architecture_cost(found.decode(np.zeros(0, dtype=np.int64)))
    second_classifier = widths[-1] * (1000 + 2) + 1000
    assert round((cost.parameters + second_classifier) / 1e6, 1) == parameters
    assert (cost.macs + widths[-1] * 1000) / 1e6 == pytest.approx(macs, rel=0.01)


def test_the_width_of_the_first_stage_is_that_of_the_stem_in_one_decision() -> None:
    stages = [{"depth": 0, "width": choice(8, 16)}, {"depth": 1, "width": 12}]
    found = space({"kind": "levit", "halvings": 1, "stages": stages})
    assert [decision.name for decision in found.decisions] == ["space.stages.0.width"]
    widths = [found.decode(np.array([option])).layers[0].width for option in (0, 1)]
    assert widths == [8, 16] and isinstance(found.decode(np.array([0])).layers[0], ConvolutionalStem)
