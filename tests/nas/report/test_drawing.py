from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest

from nas.report.blocks import arithmetic, details
from nas.report.cell_drawing import graphs, repeats
from nas.report.drawing import WIDTH, Palette, draw, strip, wrapped
from searchspaces.architecture import Architecture
from searchspaces.blocks._role import Block
from searchspaces.blocks.sum import Sum
from searchspaces.parse import parse
from tests.searchspaces.spaces import FAMILIES, space

SVG = "{http://www.w3.org/2000/svg}"


CELLS = {"cell", "nas_bench_201"}


def architectures(families: Iterable[str] = tuple(FAMILIES.keys() - CELLS)) -> list[Architecture]:
    """Four of each of these families, which are chains of blocks if none are named."""
    rng = np.random.default_rng(0)
    found = []
    for family in sorted(families):
        opened = space(FAMILIES[family])
        found += [opened.decode(row) for row in opened.sample(rng, 4)]
    return found


def block(**data: object) -> Block:
    return parse(Block, data)


@pytest.mark.parametrize("architecture", architectures(), ids=lambda a: a.id)
def test_a_drawing_is_xml_with_a_box_for_each_block_inside_its_frame(architecture: Architecture) -> None:
    root = ElementTree.fromstring(draw(architecture, Palette.of([architecture]), '<"&>'))
    boxes = [rect for rect in root.iter(f"{SVG}rect") if rect.get("class") == "box"]
    height = float(root.get("viewBox", "").split()[3])
    assert len(boxes) == len(architecture.blocks())
    bottom = 0.0
    for box in boxes:
        left, top, width, tall = (float(box.get(name, "nan")) for name in ("x", "y", "width", "height"))
        assert 6 <= left <= left + width <= WIDTH - 6
        assert bottom < top
        bottom = top + tall
    assert bottom < height
    assert root.findtext(f"{SVG}title") == 'Architecture <"&>'


@pytest.mark.parametrize("architecture", architectures(), ids=lambda a: a.id)
def test_boxes_are_as_wide_as_channels_are_many(architecture: Architecture) -> None:
    root = ElementTree.fromstring(draw(architecture, Palette.of([architecture]), "name"))
    widths = [float(rect.get("width", "nan")) for rect in root.iter(f"{SVG}rect") if rect.get("class") == "box"]
    channels = [place.part.output_shape(place.shape)[0] for place in architecture.blocks()]
    assert [widths[i] for i in np.argsort(channels, kind="stable")] == sorted(widths)
    assert len(set(widths)) == len(set(channels))


@pytest.mark.parametrize("architecture", architectures(FAMILIES), ids=lambda a: a.id)
def test_a_strip_has_a_bar_for_each_block_and_a_dot_for_each_integer_one(architecture: Architecture) -> None:
    root = ElementTree.fromstring(strip(architecture, Palette.of([architecture])))
    integers = [place for place in architecture.blocks() if place.part.quantization.integer]
    assert len(list(root.iter(f"{SVG}rect"))) == len(architecture.blocks())
    assert len(list(root.iter(f"{SVG}circle"))) == len(integers)


@pytest.mark.parametrize("architecture", architectures(CELLS), ids=lambda a: a.id)
def test_a_cell_is_a_graph_of_nodes_and_arcs_with_a_box_for_each_operation(architecture: Architecture) -> None:
    root = ElementTree.fromstring(draw(architecture, Palette.of([architecture]), "name"))
    cells = graphs(architecture.layers)
    drawn = {path: cell for path, cell in cells.items() if path not in repeats(cells)}
    assert drawn or not cells
    circles = [circle for circle in root.iter(f"{SVG}circle") if circle.get("class") == "node"]
    arcs = [path for path in root.iter(f"{SVG}path") if "wire" in path.get("class", "")]
    boxes = [rect for rect in root.iter(f"{SVG}rect") if rect.get("class") == "box"]
    edges = [edge for cell in drawn.values() for edges in cell.nodes for edge in edges]
    assert len(circles) == sum(len(cell.inputs) + len(cell.nodes) + bool(cell.outputs) for cell in drawn.values())
    assert len(arcs) == len(edges) + sum(len(cell.outputs) for cell in drawn.values())
    inside = [place.path.rpartition(".")[0] in cells for place in architecture.blocks()]
    operations = sum(
        place.path.rpartition(".")[0] in drawn and not isinstance(place.part, Sum) for place in architecture.blocks()
    )
    assert len(boxes) == inside.count(False) + operations
    tops = [float(box.get("y", "nan")) for box in boxes]
    assert tops == sorted(tops) and len(set(tops)) == len(tops)
    height = float(root.get("viewBox", "").split()[3])
    assert all(0 < float(circle.get("cy", "nan")) < height for circle in circles)
    assert all(
        6 <= float(box.get("x", "nan")) <= float(box.get("x", "nan")) + float(box.get("width", "nan")) <= WIDTH - 6
        for box in boxes
    )


def test_the_shapes_that_change_are_written() -> None:
    architecture = architectures()[0]
    root = ElementTree.fromstring(draw(architecture, Palette.of([architecture]), "name"))
    texts = [text.text for text in root.iter(f"{SVG}text") if "shape" in text.get("class", "")]
    shapes = [architecture.input_shape, *(place.part.output_shape(place.shape) for place in architecture.blocks())]
    changes = [shape for before, shape in pairwise(shapes) if shape != before]
    said = [" × ".join(map(str, shape)) for shape in changes]
    assert texts == ["input 1 × 9 × 7", *said[:-1], f"output {said[-1]}"]


def test_settings_are_said_in_words_and_neutral_ones_are_not() -> None:
    depthwise = {"kind": "depthwise", "kernel": [3, 7], "dilation": 2}
    gated = block(kind="token_mixing", mixer=depthwise, gate={"kind": "squeeze_excitation"})
    assert details(gated)[:2] == ["kernel 3 × 7", "dilation 2"]
    assert details(gated)[2].startswith("squeeze excitation")
    assert details(block(kind="token_mixing", mixer={"kind": "depthwise", "kernel": 5})) == ["kernel 5"]
    attention = {"kind": "attention", "heads": 2, "head_width": 8}
    assert details(block(kind="token_mixing", mixer=attention, norm="layer")) == [
        "2 heads",
        "head width 8",
        "norm layer",
    ]
    dilated = {"kind": "multi_dilated", "kernel": 3, "dilations": [1, [2, 3]]}
    assert details(block(kind="token_mixing", mixer=dilated)) == ["kernel 3", "dilations 1, 2 × 3"]
    assert details(block(kind="channel_mixing", mixer={"kind": "mlp", "ratio": 2.5})) == ["ratio 2.5"]


def test_arithmetic_is_named_by_its_bits() -> None:
    mixer = {"kind": "mlp"}
    integer = {"kind": "integer", "weight_bits": 4, "activation_bits": 8}
    assert arithmetic(block(kind="channel_mixing", mixer=mixer)) == ""
    assert arithmetic(block(kind="channel_mixing", mixer=mixer, quantization={"kind": "integer"})) == "int8"
    assert arithmetic(block(kind="channel_mixing", mixer=mixer, quantization=integer)) == "w4 a8"


def test_lines_are_no_wider_than_their_box() -> None:
    lines = wrapped(["kernel 3 × 5", "dilations 1, 2, 3", "squeeze excitation"], 120)
    assert len(lines) > 1
    assert max(map(len, lines)) <= 120 / 5.7
    assert " ".join(lines) == "kernel 3 × 5, dilations 1, 2, 3, squeeze excitation"


def test_a_kind_has_one_colour_in_all_drawings() -> None:
    found = architectures()
    palette = Palette.of(found)
    assert len({palette.css(kind) for kind in palette.kinds}) == min(8, len(palette.kinds))
    assert palette.css("classifier") == "structure"
    assert Palette.of(reversed(found)) == palette
