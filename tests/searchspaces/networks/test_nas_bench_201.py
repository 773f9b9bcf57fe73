"""The network of NAS-Bench-201 against what is published of it: its strings, parameters and FLOPs."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest

from predictors.encodings.nas_bench_201 import OPERATORS, parse, text
from searchspaces.architecture import Architecture
from searchspaces.cost import architecture_cost
from searchspaces.networks._role import Signature
from searchspaces.networks.nas_bench_201 import CIFAR_10, NasBench201, from_string, to_string
from searchspaces.placements import Placements
from searchspaces.space import SearchSpace

TABLE = Path(__file__).parents[3] / ".." / "shared" / "data" / "nb201_latency.csv.gz"
SMALL = Signature((3, 8, 8), 4)
FIRST = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
THIRD = "|skip_connect~0|+|none~0|nor_conv_3x3~1|+|avg_pool_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"
SECOND = "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|"


@pytest.mark.parametrize(
    ("string", "pixels", "classes", "parameters", "mflops"),
    [
        (THIRD, 32, 10, 802_426, 113.95137),
        (FIRST, 32, 10, None, 15.64737),
        (FIRST, 32, 100, None, 15.65322),
        (FIRST, 16, 120, None, 3.91948),
    ],
)
def test_parameters_and_flops_are_the_published_ones(
    string: str, pixels: int, classes: int, parameters: int | None, mflops: float
) -> None:
    """What the benchmark's tables say (issues 24 and 36 of D-X-Y/NATS-Bench); they count the last layer's biases."""
    found = architecture_cost(from_string(string, Signature((3, pixels, pixels), classes)))
    assert round((found.macs + classes) / 1e6, 5) == mflops
    assert parameters in (None, found.parameters)


def test_parameters_follow_from_the_convolutions_of_the_cell() -> None:
    """Stem, residual blocks and head written out, and five cells in each stage of 16, 32 and 64 channels."""
    fixed = 464 + 14_464 + 57_600 + 778
    for name, kernel in (("nor_conv_1x1", 1), ("nor_conv_3x3", 9), ("skip_connect", 0), ("avg_pool_3x3", 0)):
        cell = f"|{name}~0|+|none~0|{name}~1|+|skip_connect~0|none~1|{name}~2|"
        convolutions = sum(5 * 3 * (kernel * width**2 + 2 * width) for width in (16, 32, 64)) if kernel else 0
        assert architecture_cost(from_string(cell)).parameters == fixed + convolutions


@pytest.mark.slow
@pytest.mark.skipif(not TABLE.exists(), reason=f"{TABLE} is not there")
def test_all_published_strings_read_and_write() -> None:
    with gzip.open(TABLE, "rt") as file:
        strings = [row["arch_str"] for row in csv.DictReader(file)]
    network = NasBench201(cells=1)
    assert len(set(strings)) == 15_625
    assert all(to_string(from_string(string, SMALL, network)) == string for string in strings)


def test_the_space_is_the_published_one_and_its_rows_are_the_encodings_rows() -> None:
    network = NasBench201(cells=2)
    space = SearchSpace.of(network, SMALL)
    assert space.count == 5**6 and [decision.name for decision in space.decisions][:3] == [
        "cell.0-1",
        "cell.0-2",
        "cell.1-2",
    ]
    for row in space.sample(np.random.default_rng(0), 20):
        string = to_string(space.decode(row))
        assert string == text(row) and parse(string) == row.tolist()
        assert space.decode(row) == from_string(string, SMALL, network)
        assert np.array_equal(space.encode(from_string(string, SMALL, network)), row)


def test_cells_share_their_decisions_and_not_their_weights() -> None:
    space = SearchSpace.of(NasBench201(), CIFAR_10)
    architecture = space.decode(space.sample(np.random.default_rng(0), 1)[0])
    cells = [cell for layer in architecture.layers if isinstance(layer, tuple) for cell in layer]
    assert len(cells) == 15 and len(set(cells)) == 1
    placements = Placements(space)
    assert len({slot.path for slot in placements.slots}) == len(placements.slots) == 4 + 15 * 8
    assert len(placements.units) == 4 + 3 * (len(OPERATORS) + 2), "equal cells of a stage share what is measured"


@pytest.mark.parametrize(
    "string",
    [
        "",
        "|none~0|",
        SECOND.replace("skip_connect~2", "skip_connect~1"),
        SECOND.replace("nor_conv_3x3~0", "sep_conv_3x3~0"),
        SECOND + "|",
        SECOND[1:],
    ],
)
def test_other_strings_are_refused(string: str) -> None:
    with pytest.raises(ValueError, match="not a cell of NAS-Bench-201"):
        from_string(string)


def test_other_networks_have_no_string() -> None:
    found = from_string(SECOND, SMALL, NasBench201(cells=1))
    for layers in (found.layers[:1], (found.layers[0], (found.layers[2],), found.layers[-1])):
        with pytest.raises(ValueError, match="not of NAS-Bench-201"):
            to_string(Architecture((3, 8, 8), layers))
