"""NAS-Bench-201: strings, what matters of a cell, and which cells are the same."""

from __future__ import annotations

import csv
import gzip
from itertools import product
from pathlib import Path

import networkx
import numpy as np
import pytest
from scipy.stats import spearmanr

from predictors.encodings.nas_bench_201 import EDGES, NONE, SKIP, NasBench201, parse, text

SPACE = NasBench201()
CELLS = np.array(list(product(range(5), repeat=6)))
TABLE = Path(__file__).parents[3] / ".." / "shared" / "data" / "nb201_latency.csv.gz"


def test_strings_are_read_and_written() -> None:
    string = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|none~0|nor_conv_3x3~1|skip_connect~2|"
    assert parse(string) == [4, 2, 1, 0, 3, 1]
    assert text(np.array(parse(string))) == string
    for wrong in ("", string[:-20], string.replace("none", "zero"), string.replace("~2", "~1")):
        with pytest.raises(ValueError):
            parse(wrong)


def test_tokens_tell_what_is_fed_and_what_is_used() -> None:
    sample = CELLS[np.random.default_rng(0).permutation(len(CELLS))[:300]]
    for row, tokens in zip(sample, SPACE.tokens(sample), strict=True):
        graph = networkx.DiGraph([edge for edge, operator in zip(EDGES, row, strict=True) if operator != NONE])
        graph.add_nodes_from(range(4))
        fed, used = networkx.descendants(graph, 0) | {0}, networkx.ancestors(graph, 3) | {3}
        for (begin, end), operator, token in zip(EDGES, row, tokens[1:-1], strict=True):
            runs = operator != NONE
            assert token == operator + 5 * (runs and begin in fed) + 10 * (runs and end in used)


def test_a_node_that_is_the_input_can_be_read_in_its_place() -> None:
    cells = CELLS[CELLS[:, 0] == SKIP]
    swapped = cells[:, [0, 2, 1, 4, 3, 5]]
    np.testing.assert_array_equal(SPACE.canonical(cells), SPACE.canonical(swapped))
    np.testing.assert_allclose(SPACE.physics(cells), SPACE.physics(swapped))


def test_nothing_else_is_the_same() -> None:
    """The classes are those of the operators that run, each with its whole input as a nested expression."""
    assert len(np.unique(SPACE.canonical(CELLS), axis=0)) == 13625
    twice, once = parse(_TWICE), parse(_ONCE)
    assert SPACE.canonical(np.array([twice])).tolist() != SPACE.canonical(np.array([once])).tolist()


_TWICE = "|skip_connect~0|+|none~0|nor_conv_3x3~1|+|none~0|nor_conv_3x3~1|skip_connect~2|"
_ONCE = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|skip_connect~1|skip_connect~2|"
"""They compute the same, but one runs its convolution twice."""


def test_macs_of_a_cell_are_those_of_its_convolutions() -> None:
    """A 3x3 convolution on every edge: 5 cells in 3 stages, each of 6 x 9 x 16^2 x 32^2 MACs."""
    physics = SPACE.physics(np.full((1, 6), 3))
    np.testing.assert_allclose(physics[0, ::4], 5 * 3 * 6 * 9 * 16**2 * 32**2)


@pytest.mark.skipif(not TABLE.exists(), reason="the published table is absent")
def test_cells_that_are_the_same_are_measured_alike() -> None:
    with gzip.open(TABLE, "rt", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    matrix = np.array([parse(row["arch_str"]) for row in table])
    assert all(text(cell) == row["arch_str"] for cell, row in zip(matrix[:200], table[:200], strict=True))
    values = np.array([float(row["latency_ms.1080ti_256"]) for row in table])
    places = 5 ** np.arange(5, -1, -1)
    number = np.empty(len(values), dtype=int)
    number[matrix @ places] = np.arange(len(values))
    first = number[SPACE.canonical(matrix) @ places]
    other = first != np.arange(len(first))
    assert spearmanr(values[other], values[first[other]]).statistic > 0.999
