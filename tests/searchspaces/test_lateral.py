"""Laterals: layers past other layers, in networks whose widths and depths are open."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from searchspaces.architecture import Architecture
from searchspaces.blocks.classifier import Classifier
from searchspaces.blocks.convolution import Convolution
from searchspaces.blocks.deconvolution import Deconvolution
from searchspaces.choice import Choice, Depth
from searchspaces.cost import architecture_cost, module_cost
from searchspaces.graph import Edge, Graph
from searchspaces.lateral import Lateral
from searchspaces.placements import Placements
from searchspaces.space import SearchSpace
from searchspaces.supernet import Supernet

WIDTH, INNER, OUTER = Choice("width", (3, 5)), Choice("inner", (2, 4)), Choice("outer", (2, 3))


def down(width: Any) -> Any:
    return Convolution.opened(width=width, stride=2)


def hourglass(*before: Any) -> SearchSpace:
    """Two laterals, one inside the other: their widths are decisions that hold on both sides of a sum."""
    same = Depth(Choice("depth", (0, 1, 2)), (Convolution(width=4, kernel=1), Convolution(width=4)))
    up = Deconvolution.opened(width=INNER)
    low = Lateral.opened(block=up, layers=(Convolution(width=6), up))
    past = Convolution.opened(width=OUTER, kernel=Choice("kernel", (1, 3)))
    high = Lateral.opened(block=past, layers=(down(4), same, (low, Convolution.opened(width=OUTER))))
    return SearchSpace((3, 8, 4), (*before, Convolution.opened(width=WIDTH), high, Classifier(classes=2)))


SPACE = hourglass()


def every(space: SearchSpace) -> list[np.ndarray]:
    rows = (np.array(row, dtype=np.int64) for row in itertools.product(*(range(size) for size in space.sizes)))
    return list({tuple(row): row for row in (space.canonical(row[None])[0] for row in rows)}.values())


def naive(architecture: Architecture, network: torch.nn.Sequential, x: Tensor) -> Tensor:
    """The network by definition, modules found by their paths."""
    modules = dict(zip((place.path for place in architecture.blocks()), network, strict=True))

    def walk(layer: Any, path: str, x: Tensor) -> Tensor:
        if isinstance(layer, tuple):
            for index, inner in enumerate(layer):
                x = walk(inner, f"{path}.{index}".lstrip("."), x)
            return x
        if isinstance(layer, Lateral):
            return modules[f"{path}.lateral"](x) + walk(layer.layers, path, x)
        return modules[path](x)

    return walk(architecture.layers, "", x)


def images(batch: int = 3) -> Tensor:
    return torch.randn(batch, 3, 8, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_count_is_exact_and_rows_encode_and_decode() -> None:
    rows = every(SPACE)
    assert len({SPACE.decode(row) for row in rows}) == len(rows) == SPACE.count == 2 * 2 * 2 * 2 * 3
    for row in rows:
        architecture = SPACE.decode(row)
        assert np.array_equal(SPACE.encode(architecture), row)
        assert Architecture.parse(json.loads(json.dumps(architecture.describe()))) == architecture


def test_placements_are_those_of_the_architectures_and_no_more() -> None:
    placements, found, rows = Placements(SPACE), set(), np.array(every(SPACE))
    for row, units in zip(rows, placements.of(rows), strict=True):
        expected = [(place.path, place.part, place.shape) for place in SPACE.decode(row).blocks()]
        used = [(slot.path, placements.units[u]) for slot, u in zip(placements.slots, units, strict=True) if u >= 0]
        assert [(path, unit.part, unit.shape) for path, unit in used] == expected
        found |= set(expected)
    assert {(place.path, place.part, place.shape) for place in placements.placements()} == found


@pytest.mark.parametrize("training", [True, False])
def test_networks_and_subnets_compute_what_their_description_says(training: bool) -> None:
    supernet = Supernet(Placements(SPACE)).double()
    for row in every(SPACE)[::5]:
        architecture = SPACE.decode(row)
        subnet, alone = supernet.subnet(architecture).double(), architecture.build().double()
        subnet.recalibrate([images(5)])
        alone.load_state_dict(subnet.state())
        subnet.train(training), alone.train(training)
        expected = naive(architecture, alone, images())
        torch.testing.assert_close(alone(images()), expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(subnet(images()), expected, rtol=1e-12, atol=1e-12)


def test_the_cost_is_that_of_the_executed_network() -> None:
    for row in every(SPACE)[::7]:
        architecture = SPACE.decode(row)
        with torch.device("meta"):
            executed = module_cost(architecture.build(), SPACE.input_shape)
        assert architecture_cost(architecture) == executed


def test_sums_of_different_shapes_are_refused_where_they_stand() -> None:
    wrong = Lateral.opened(block=Convolution(width=4), layers=(Convolution.opened(width=Choice("other", (4, 5))),))
    space = SearchSpace((3, 8, 4), (wrong,))
    with pytest.raises(ValueError, match=r"^0: \(4, 8, 4\) cannot be added to \(5, 8, 4\)"):
        Placements(space)
    with pytest.raises(ValueError, match=r"0.sum: blocks of different output shapes meet"):
        space.decode(np.array([1])).blocks()


def test_a_graph_inside_is_refused() -> None:
    graph = Graph(nodes=((Edge(source=0, block=Convolution(width=3)),),))
    space = SearchSpace((3, 8, 4), (Lateral(block=Convolution(width=3), layers=(graph,)),))
    with pytest.raises(ValueError, match="a graph cannot stand inside a lateral"):
        Placements(space)
    outside = hourglass(graph)
    rows = np.array(every(outside)[:4])
    for row, units in zip(rows, Placements(outside).of(rows), strict=True):
        assert sum(units >= 0) == len(outside.decode(row).blocks())
