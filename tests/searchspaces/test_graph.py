"""Graphs in the chain: the executed wiring is the described one, and everything inside stays a place of its own."""

from __future__ import annotations

import itertools
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from searchspaces.architecture import Architecture
from searchspaces.blocks.classifier import Classifier
from searchspaces.blocks.convolution import Convolution
from searchspaces.blocks.sum import Sum
from searchspaces.blocks.token_mixing import TokenMixing
from searchspaces.choice import Choice, Depth, Subset
from searchspaces.cost import architecture_cost, module_cost
from searchspaces.graph import Edge, Graph
from searchspaces.mixers.pooling import Pooling
from searchspaces.placements import Placements
from searchspaces.space import SearchSpace
from searchspaces.supernet import Supernet
from searchspaces.wiring import Wired, execute, steps

CONVOLUTION = Convolution(width=4, kernel=1)
POOL = TokenMixing(mixer=Pooling())


def edge(source: int, name: str) -> Any:
    return Edge.opened(source=source, block=Choice(f"edge{name}", (POOL, Convolution(width=4, kernel=3))))


def cell(width: Any = 4) -> Graph:
    """Two inputs, a node of two edges and one of two out of three; both are the output."""
    inputs = (Convolution.opened(width=width, kernel=1), Convolution.opened(width=width, kernel=3))
    second = Subset(Choice("pair", ((0, 1), (0, 2), (1, 2))), tuple(edge(source, f"{source}-3") for source in range(3)))
    return Graph.opened(inputs=inputs, nodes=((edge(0, "0-2"), edge(1, "1-2")), second), outputs=(2, 3))


def elastic(*depths: int) -> SearchSpace:
    """A stem, an elastic number of cells that share their decisions, a plain block, one more cell."""
    depth = Choice("depth", depths)
    return SearchSpace(
        (3, 6, 5),
        (CONVOLUTION, Depth(depth, (cell(),) * max(depths)), Convolution(width=6), (cell(),), Classifier(classes=3)),
    )


def every(space: SearchSpace) -> list[np.ndarray]:
    rows = (np.array(row, dtype=np.int64) for row in itertools.product(*(range(size) for size in space.sizes)))
    return list({tuple(row): row for row in (space.canonical(row[None])[0] for row in rows)}.values())


def naive(architecture: Architecture, x: Tensor) -> Tensor:
    """The network by definition: each value pulled from those that it is made of, modules found by their paths."""
    blocks = architecture.blocks()
    modules = dict(zip((place.path for place in blocks), architecture_module(architecture), strict=True))

    def graph(layer: Graph, path: str, previous: Tensor, current: Tensor) -> Tensor:
        entering = [previous, current][-len(layer.inputs) :]

        def node(number: int) -> Tensor:
            if number < len(layer.inputs):
                return modules.get(f"{path}.input{number}", lambda value: value)(entering[number])
            edges = layer.nodes[number - len(layer.inputs)]
            return torch.stack([modules[f"{path}.{edge.source}-{number}"](node(edge.source)) for edge in edges]).sum(0)

        last = len(layer.inputs) + len(layer.nodes) - 1
        return torch.cat([node(number) for number in layer.outputs or (last,)], 1)

    def walk(layer: Any, path: str, previous: Tensor, current: Tensor) -> tuple[Tensor, Tensor]:
        if isinstance(layer, tuple):
            for index, inner in enumerate(layer):
                previous, current = walk(inner, f"{path}.{index}".lstrip("."), previous, current)
            return previous, current
        if isinstance(layer, Graph):
            return current, graph(layer, path, previous, current)
        return (modules[path](current),) * 2

    return walk(architecture.layers, "", x, x)[1]


def architecture_module(architecture: Architecture) -> torch.nn.Sequential:
    torch.manual_seed(0)
    return architecture.build().double().eval()


@pytest.mark.parametrize("depths", [(1, 2), (0, 3), (2,)], ids=str)
def test_a_network_computes_what_its_description_says(depths: tuple[int, ...]) -> None:
    space = elastic(*depths, *(() if len(depths) > 1 else (3,)))
    x = torch.randn(2, 3, 6, 5, dtype=torch.float64)
    for row in space.sample(np.random.default_rng(0), 8):
        architecture = space.decode(row)
        torch.testing.assert_close(architecture_module(architecture)(x), naive(architecture, x))


def test_count_is_exact_and_rows_encode_and_decode() -> None:
    space = elastic(0, 1, 2)
    rows = every(space)
    assert len({space.decode(row) for row in rows}) == len(rows) == space.count == 3 * 4 * 3 * 4
    assert all(np.array_equal(space.encode(space.decode(row)), row) for row in rows)


def test_placements_are_those_of_the_architectures_and_no_more() -> None:
    space = elastic(0, 1, 2)
    placements, found, rows = Placements(space), set(), np.array(every(space))
    for row, units in zip(rows, placements.of(rows), strict=True):
        expected = [(place.path, place.part, place.shape) for place in space.decode(row).blocks()]
        used = [(slot.path, placements.units[u]) for slot, u in zip(placements.slots, units, strict=True) if u >= 0]
        assert [(path, unit.part, unit.shape) for path, unit in used] == expected
        found |= set(expected)
    assert {(place.path, place.part, place.shape) for place in placements.placements()} == found


def test_an_elastic_width_reaches_every_block_of_a_graph() -> None:
    width = Choice("width", (4, 6))
    same = Choice("operation", (POOL, TokenMixing(mixer=Pooling(kernel=5))))
    nodes = ((Edge.opened(source=0, block=same), Edge.opened(source=1, block=same)),)
    graph = Graph.opened(inputs=(Convolution.opened(width=width),) * 2, nodes=nodes, outputs=())
    space = SearchSpace((3, 4, 4), (Depth(Choice("depth", (1, 2, 3)), (graph,) * 3), Classifier(classes=2)))
    placements, rows = Placements(space), np.array(every(space))
    for row, units in zip(rows, placements.of(rows), strict=True):
        expected = [(place.part, place.shape) for place in space.decode(row).blocks()]
        assert [(placements.units[u].part, placements.units[u].shape) for u in units if u >= 0] == expected


def test_skipped_graphs_leave_both_outputs_as_they_are() -> None:
    space = elastic(0, 2)
    trace = {len(space.decode(row).traced().placements): space.decode(row).traced() for row in every(space)}
    short, long = trace[min(trace)], trace[max(trace)]
    assert short.wires[1] == (1,) and short.placements[1].path == "2", "the plain block reads the stem"
    assert [long.wires[n] for n, place in enumerate(long.placements) if place.path == "1.0.input0"] == [(1,)]
    first = next(n for n, place in enumerate(long.placements) if place.path == "1.0.concatenation")
    second = {place.path: long.wires[n] for n, place in enumerate(long.placements)}
    assert second["1.1.input0"] == (1,) and second["1.1.input1"] == (first + 1,)
    plain = second["3.0.input1"]
    assert second["3.0.input0"] == plain, "behind a plain block both inputs are its output"


def test_costs_are_those_of_the_executed_graph() -> None:
    space = elastic(1, 2)
    for row in space.sample(np.random.default_rng(1), 5):
        architecture = space.decode(row)
        with torch.device("meta"):
            executed = module_cost(architecture.build(), architecture.input_shape)
        assert architecture_cost(architecture) == executed


def test_descriptions_read_back_and_old_ones_keep_their_names() -> None:
    space = elastic(1, 2)
    for row in space.sample(np.random.default_rng(1), 5):
        architecture = space.decode(row)
        again = Architecture.parse(architecture.describe())
        assert again == architecture and again.id == architecture.id
    assert Architecture((3, 4, 4), (CONVOLUTION, (POOL,), Classifier(classes=2))).id == "522a56b16f92"


def test_every_edge_has_weights_of_its_own_in_each_cell() -> None:
    supernet = Supernet(Placements(elastic(1, 2)))
    names = {name.partition("|")[0] for name in dict(supernet.named_parameters())}
    edges = {"0-2", "1-2", "0-3", "1-3", "2-3"}
    assert {f"{at}/{name}" for at in ("1/0", "1/1", "3/0") for name in edges} < names


def test_a_subset_can_leave_all_edges() -> None:
    items = tuple(Edge(source=source, block=POOL) for source in (0, 1))
    graph = Graph(inputs=(None, None), nodes=((items[0],), items))
    assert graph.nodes[1] == Subset((0, 1), items).pick((0, 1))
    chosen = Subset(Choice("edges", ((0, 1), (0, 2), (0, 1, 2))), (*items, Edge(source=2, block=POOL)))
    space = SearchSpace((4, 3, 3), (Graph.opened(inputs=(None, None), nodes=((items[0],), chosen), outputs=()),))
    placements = Placements(space)
    assert [slot.path for slot in placements.slots] == ["0.0-2", "0.0-3", "0.1-3", "0.2-3", "0.sum3"]
    for row in every(space):
        units = [placements.units[u].part for u in placements.of(row[None])[0] if u >= 0]
        assert units == [place.part for place in space.decode(row).blocks()]
        assert isinstance(units[-1], Sum) and units[-1].inputs == len(units) - 2


@pytest.mark.parametrize(
    ("nodes", "outputs"),
    [((), ()), (((),), ()), (((Edge(source=1, block=POOL),),), ()), (((Edge(source=0, block=POOL),),), (0, 2))],
    ids=["no node", "no edge", "cycle", "unknown output"],
)
def test_impossible_graphs_are_refused(nodes: Any, outputs: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError):
        Graph(nodes=nodes, outputs=outputs)


def test_sums_of_different_shapes_are_refused() -> None:
    edges = (Edge(source=0, block=Convolution(width=4)), Edge(source=0, block=Convolution(width=5)))
    layers = (Graph(nodes=(edges,)),)
    with pytest.raises(ValueError, match="different output shapes"):
        Architecture((3, 4, 4), layers).blocks()
    with pytest.raises(ValueError, match="different output shapes"):
        Placements(SearchSpace((3, 4, 4), layers))
    either = Edge.opened(source=0, block=Choice("either", (Convolution(width=4), Convolution(width=5))))
    with pytest.raises(ValueError, match="different shapes"):
        Placements(SearchSpace((3, 4, 4), (Graph.opened(inputs=(None,), nodes=((either, either),), outputs=()),)))


def test_a_node_with_one_or_two_edges_is_refused() -> None:
    chosen = Subset(Choice("edges", ((0,), (0, 1))), (Edge(source=0, block=POOL), Edge(source=0, block=POOL)))
    with pytest.raises(ValueError, match="at least two edges"):
        Placements(SearchSpace((3, 4, 4), (Graph.opened(inputs=(None,), nodes=(chosen,), outputs=()),)))


def test_decisions_of_cells_in_several_elastic_stages_need_a_stage_that_is_always_there() -> None:
    def stages(*least: int) -> SearchSpace:
        depths = [Depth(Choice(f"depth{n}", (low, 2)), (cell(),) * 2) for n, low in enumerate(least)]
        return SearchSpace((3, 6, 5), (CONVOLUTION, *depths, Classifier(classes=3)))

    for least in ((0, 1), (1, 0), (1, 1)):
        space = stages(*least)
        assert len({space.decode(row) for row in every(space)}) == space.count == 4 * 48
    with pytest.raises(ValueError, match="hangs on two"):
        _ = stages(0, 0).count


def test_values_are_let_go_behind_their_last_reader() -> None:
    wires = ((0,), (1,), (1, 2), (3, 0, 3))
    assert [spent for _, spent in steps(wires)] == [(), (), (1, 2), (3, 0)]
    values: list[weakref.ref[Tensor]] = []
    alive: list[list[bool]] = []

    def call(index: int, *inputs: Tensor) -> Tensor:
        alive.append([value() is not None for value in values])
        values.append(weakref.ref(found := torch.stack(inputs).sum(0)))
        return found

    assert execute(steps(wires), call, torch.ones(1)).item() == 5
    assert alive == [[], [True], [True, True], [False, False, True]]
    twice = Wired(((0,), (1, 1)), torch.nn.Identity(), Sum(inputs=2).build((1,)))
    assert twice(torch.ones(2, 1, 1)).eq(2).all()
