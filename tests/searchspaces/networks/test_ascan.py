"""AsCAN's asymmetric pattern as a searchable value."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest

from nas.config import ConfigurationError
from nas.failures import exit_code
from searchspaces.architecture import Architecture
from searchspaces.blocks.channel_mixing import ChannelMixing
from searchspaces.blocks.inverted_bottleneck import InvertedBottleneck
from searchspaces.blocks.token_mixing import TokenMixing
from searchspaces.faults import DescriptionError
from searchspaces.space import SearchSpace
from tests.searchspaces.spaces import SIGNATURE, choice, space


def ascan(*stages: dict[str, Any]) -> SearchSpace:
    plain = {"width": 4, "transformer": {"heads": 1, "head_width": 2}}
    return space({"kind": "ascan", "stem": {"width": 4, "halvings": 1}, "stages": [plain | stage for stage in stages]})


def pattern(architecture: Architecture) -> str:
    """`CCT|CTT` for the blocks of each stage."""
    letters = {InvertedBottleneck: "C", TokenMixing: "T", ChannelMixing: ""}
    _, *blocks, _ = architecture.blocks()
    stages = itertools.groupby(blocks, key=lambda place: place.path.partition(".")[0])
    return "|".join("".join(letters[type(place.part)] for place in stage) for _, stage in stages)


def everything(found: SearchSpace) -> Counter[str]:
    """How often each pattern occurs among all architectures."""
    rows = np.unique(found.sample(np.random.default_rng(0), 400 * found.count), axis=0)
    assert len(rows) == found.count
    assert all(np.array_equal(found.encode(found.decode(row)), row) for row in rows)
    return Counter(pattern(found.decode(row)) for row in rows)


def test_a_pattern_is_written_as_counts() -> None:
    found = ascan(*({"depth": 3, "convolutions": count} for count in (3, 2, 1)))
    assert everything(found) == {"CCC|CCT|CTT": 1}


def test_the_share_of_convolutions_is_one_decision_of_a_stage() -> None:
    found = ascan({"depth": 3, "convolutions": choice(3, 1, 2)})
    assert everything(found) == {"CCC": 1, "CCT": 1, "CTT": 1}
    (decision,) = found.decisions
    assert (decision.name, decision.options) == ("space.stages.0.convolutions", (3, 1, 2))
    described = [found.describe_row(np.array([option])) for option in range(3)]
    assert described == [{decision.name: 3}, {decision.name: 1}, {decision.name: 2}]


def test_depth_and_share_are_decided_apart() -> None:
    found = ascan({"depth": choice(2, 3, 5), "convolutions": choice(1, 2)})
    assert everything(found) == dict.fromkeys(("CT", "CC", "CTT", "CCT", "CTTTT", "CCTTT"), 1)
    assert {d.name: d.options for d in found.decisions} == {
        "space.stages.0.depth": (2, 3, 5),
        "space.stages.0.convolutions": (1, 2),
    }


def test_each_block_chooses_for_itself_only_where_it_stands() -> None:
    stage = {"depth": choice(2, 3), "convolutions": choice(1, 2), "convolution": {"kernel": choice(3, 5)}}
    found = ascan({**stage, "transformer": {"heads": choice(1, 2, 3), "head_width": 2}})
    expected = {"CT": 2 * 3, "CC": 2 * 2, "CTT": 2 * 3 * 3, "CCT": 2 * 2 * 3}
    assert everything(found) == expected and found.count == sum(expected.values())


def test_the_first_convolution_of_a_stage_has_the_stride() -> None:
    found = ascan({"depth": 3, "convolutions": 2}, {"depth": 2, "convolutions": 1, "stride": 3})
    blocks = found.decode(np.zeros(0, dtype=np.int64)).blocks()
    strides = [place.part.stride for place in blocks if isinstance(place.part, InvertedBottleneck)]
    assert strides == [2, 1, 3]
    assert blocks[-1].shape == (4, 1, 1) and SIGNATURE.input_shape == (1, 9, 7)


def test_more_convolutions_than_blocks_are_refused() -> None:
    with pytest.raises(
        DescriptionError, match=r"stages\.1\.convolutions: up to 3 convolutions do not fit into 2"
    ) as raised:
        ascan({"depth": 2, "convolutions": 1}, {"depth": choice(2, 4), "convolutions": choice(1, 3)})
    assert exit_code(raised.value) == exit_code(ConfigurationError([])) == 2
