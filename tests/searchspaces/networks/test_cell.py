"""Networks of cells: the published space, genotypes and parameter counts."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from searchspaces.architecture import Architecture
from searchspaces.choice import Choice
from searchspaces.cost import architecture_cost
from searchspaces.graph import Graph
from searchspaces.networks._genotype import Genotype
from searchspaces.networks._role import Signature
from searchspaces.networks.cell import DARTS, Cell, genotype
from searchspaces.placements import Placements
from searchspaces.space import SearchSpace
from searchspaces.supernet import Supernet

CIFAR_10 = Signature((3, 32, 32), 10)
SMALL = Signature((3, 9, 7), 4)
DARTS_V2 = Genotype.parse(
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], "
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])"
)


def test_the_published_cell_has_the_published_number_of_parameters() -> None:
    """DARTS, second order, table 1: 3.3 million with 36 channels and 20 cells on CIFAR-10."""
    network = Cell(filters=36, stages=(6, 6, 6))
    found = network.architecture(DARTS_V2, CIFAR_10)
    assert (
        sum(
            isinstance(cell, Graph)
            for layer in found.layers
            for cell in (layer if isinstance(layer, tuple) else (layer,))
        )
        == 20
    )
    assert architecture_cost(found).parameters == 3_349_342


@pytest.mark.parametrize(
    ("nodes", "operations", "repeated"), [(4, DARTS, False), (3, DARTS[:2], False), (2, DARTS, True)]
)
def test_the_space_has_the_number_of_cells_of_the_formula(
    nodes: int, operations: tuple[str, ...], repeated: bool
) -> None:
    space = SearchSpace.of(Cell(nodes=nodes, operations=operations, repeated=repeated), CIFAR_10)
    inputs = math.prod(math.comb(target, 2) + repeated * target for target in range(2, 2 + nodes))
    assert space.count == (inputs * len(operations) ** (2 * nodes)) ** 2


def test_genotypes_read_write_and_come_back_from_networks() -> None:
    assert Genotype.parse(str(DARTS_V2)) == DARTS_V2
    network = Cell(filters=4, stages=(1, 0, 2), repeated=True, operations=(*DARTS, "nor_conv_1x1", "conv_7x1_1x7"))
    space = SearchSpace.of(network, SMALL)
    for row in space.sample(np.random.default_rng(0), 20):
        architecture = space.decode(row)
        found = genotype(architecture)
        assert Genotype.parse(str(found)) == found
        assert network.architecture(found, SMALL) == architecture
        assert np.array_equal(space.encode(network.architecture(found, SMALL)), row)
    assert genotype(network.architecture(DARTS_V2, SMALL)) == DARTS_V2


def test_a_repeated_source_has_two_operations_of_its_own() -> None:
    """As in NASNet's cells, which add two operations on one node."""
    pair = "('sep_conv_3x3', 1), ('sep_conv_5x5', 1)"
    cells = f"normal=[{pair}], normal_concat=range(2, 3), reduce=[{pair}], reduce_concat=range(2, 3)"
    network = Cell(nodes=1, repeated=True, operations=("sep_conv_3x3", "sep_conv_5x5"), filters=2, stages=(1, 1))
    space = SearchSpace.of(network, SMALL)
    architecture = network.architecture(Genotype.parse(f"Genotype({cells})"), SMALL)
    assert {"1.0.1-2", "1.0.1-2b"} < {place.path for place in architecture.blocks()}
    assert space.decode(space.encode(architecture)) == architecture
    assert space.count == ((1 + 2) * 4) ** 2


@pytest.mark.parametrize(
    "text",
    [
        "Genotype(",
        "[]",
        "Genotype(normal=[])",
        str(DARTS_V2).replace("range(2, 6)", "range(3, 6)"),
        str(DARTS_V2).replace("'dil_conv_3x3', 2", "'dil_conv_3x3', 5"),
        str(DARTS_V2).replace("dil_conv_3x3", "dil_conv_9x9"),
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Genotype.parse(text)


def test_a_genotype_of_another_size_and_a_network_without_cells_are_refused() -> None:
    with pytest.raises(ValueError, match="2 inner nodes"):
        Cell(nodes=2).architecture(DARTS_V2, SMALL)
    layers = Cell(filters=2, stages=(1, 1)).architecture(DARTS_V2, SMALL).layers
    with pytest.raises(ValueError, match="does not repeat"):
        genotype(Architecture((3, 9, 7), (layers[0], layers[-1])))


def test_reductions_halve_sizes_and_double_channels() -> None:
    architecture = Cell(filters=4, stages=(1, 2, 0)).architecture(DARTS_V2, SMALL)
    shapes = {place.path: place.part.output_shape(place.shape) for place in architecture.blocks()}
    cells = [shapes[f"{path}.concatenation"] for path in ("1.0", "2", "3.0", "3.1", "4")]
    assert cells == [(16, 9, 7), (32, 5, 4), (32, 5, 4), (32, 5, 4), (64, 3, 2)]
    strides = {place.path: place.part.stride for place in architecture.blocks() if "input" in place.path}
    assert [path for path, stride in strides.items() if stride == 2] == ["3.0.input0"]


def test_a_reduction_behind_an_empty_stage_reads_two_sizes() -> None:
    architecture = Cell(filters=4, stages=(1, 0, 1)).architecture(DARTS_V2, SMALL)
    strides = {place.path: place.part.stride for place in architecture.blocks() if "input" in place.path}
    assert [path for path, stride in strides.items() if stride == 2] == ["4.input0", "5.0.input0"]
    assert architecture.build()(torch.randn(2, 3, 9, 7)).shape == (2, 4)


def test_each_edge_with_each_operation_has_weights_of_its_own_in_each_cell() -> None:
    operations = ("sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3")
    space = SearchSpace.of(Cell(filters=2, stages=(1, 1), nodes=2, operations=operations), SMALL)
    names = [name.partition("|") for name, _ in Supernet(Placements(space)).named_parameters()]
    found = {(path, key.split(":")[0].partition("/")[2]) for path, _, key in names if "-" in path}
    assert len(found) == 3 * (2 + 3) * len(operations), "three cells of five edges"


def test_placements_are_those_that_occur_and_no_more() -> None:
    """Stages that may be empty, widths that are tied over all cells."""
    width, depths = Choice("filters", (1, 2, 3)), (Choice("first", (1, 2)), Choice("second", (0, 1)), 1)
    fields = {"nodes": 2, "operations": ("skip_connect",), "stages": depths, "filters": width}
    space = SearchSpace.of(Cell.opened(**{**dict(Cell().items()), **fields}), SMALL)
    rows = space.canonical(np.array(list(itertools.product(*(range(size) for size in space.sizes)))))
    placements = Placements(space)
    assert len(np.unique(rows, axis=0)) == space.count == 3 * 2 * 2 * 3 * 3
    found = set()
    for row, units in zip(rows, placements.of(rows), strict=True):
        expected = [(place.path, place.part, place.shape) for place in space.decode(row).blocks()]
        used = [(slot.path, placements.units[u]) for slot, u in zip(placements.slots, units, strict=True) if u >= 0]
        assert [(path, unit.part, unit.shape) for path, unit in used] == expected
        found |= set(expected)
    occurring = {(place.path, place.part, place.shape) for place in placements.placements()}
    assert occurring == found


def test_sampling_is_uniform_over_cells() -> None:
    space = SearchSpace.of(Cell(nodes=2, operations=("skip_connect", "max_pool_3x3")), SMALL)
    rows = space.sample(np.random.default_rng(0), 40 * 2304)
    _, counts = np.unique(rows, axis=0, return_counts=True)
    assert len(counts) == space.count == (1 * 3 * 2**4) ** 2 == 2304
    assert abs(((counts - 40) ** 2 / 40).sum() - 2303) < 4 * math.sqrt(2 * 2303)
