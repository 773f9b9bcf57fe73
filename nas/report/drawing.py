"""Drawings of architectures as inline SVG: a chain of boxes, and a strip of bars.

Colours are classes `kind-0`, `kind-1`, ... of the page's style sheet, so that they follow its light and dark forms.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from nas.report.blocks import STRUCTURE, arithmetic, details, operator, shape_text
from nas.report.cell_drawing import CellDrawing, graphs, repeats
from nas.report.svg import text
from nas.report.wording import escape, words
from searchspaces.architecture import Architecture, Placement
from searchspaces.graph import Graph
from searchspaces.part import Shape

WIDTH = 360
"""Width of a drawing in its own units, which are pixels on a narrow phone."""
NARROW, WIDE = 208, 312
"""Widths of the boxes with the fewest and the most channels."""
TALLER = 16
"""By how much the box of the greatest feature map is taller than its text needs."""
COLOURS = 8
_CENTRE = WIDTH // 2
_CHARACTER = 5.7


@dataclass(frozen=True)
class Palette:
    """Which kind has which colour: the same in all drawings of a page."""

    kinds: tuple[str, ...]

    @classmethod
    def of(cls, architectures: Iterable[Architecture]) -> Palette:
        """Every kind that these architectures use, in alphabetical order, without the structural ones."""
        kinds = {operator(block.part).kind() for architecture in architectures for block in architecture.blocks()}
        return cls(tuple(sorted(kinds - set(STRUCTURE))))

    def css(self, kind: str) -> str:
        """The class of a kind."""
        return f"kind-{self.kinds.index(kind) % COLOURS}" if kind in self.kinds else "structure"

    def legend(self) -> str:
        """The kinds with their colours, as an HTML list."""
        items = (f'<li class="{self.css(kind)}"><i></i>{escape(words(kind))}</li>' for kind in self.kinds)
        return f'<ul class="legend">{"".join(items)}<li class="structure"><i></i>stem, transition, head</li></ul>'


@dataclass(frozen=True)
class _Span:
    """The least and the greatest of one measure over a network, to scale boxes by."""

    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> _Span:
        return cls(min(values), max(values))

    def share(self, value: float) -> float:
        """Where a value lies between them, on a logarithmic scale; 1 if there is but one value."""
        return 1.0 if self.low == self.high else math.log(value / self.low) / math.log(self.high / self.low)


def output(block: Placement) -> Shape:
    """The shape behind a block."""
    return block.part.output_shape(block.shape)


def area(shape: Shape) -> int:
    """Positions of a feature map; 1 of a vector."""
    return math.prod(shape[1:])


def draw(architecture: Architecture, palette: Palette, name: str) -> str:
    """The chain of an architecture from top to bottom.

    A box stands for a block: as wide as it has channels and as tall as its feature map is large (both on a logarithmic
    scale). Stages are framed; the shape of a sample stands beside the arrows along which it changes. A cell is drawn as
    a graph, those that repeat it as one box.
    """
    blocks, cells = architecture.blocks(), graphs(architecture.layers)
    chain = _Chain(
        palette, cells, _Span.of([output(b)[0] for b in blocks]), _Span.of([area(output(b)) for b in blocks])
    )
    chain.input(architecture.input_shape)
    for stage, members in groupby(blocks, key=stage_of):
        chain.stage(stage, list(members))
    chain.finish()
    title, inside = f"Architecture {name}", f"{len(blocks)} blocks: {', '.join(summary(blocks))}"
    body = "".join(chain.parts)
    return (
        f'<svg class="drawing" xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {WIDTH} {chain.y:.0f}" '
        f'aria-label="{escape(f"{title}. {inside}")}"><title>{escape(title)}</title><desc>{escape(inside)}</desc>'
        f"{body}</svg>"
    )


def stage_of(block: Placement) -> str:
    """`stage 1` for a block that stands in a nested tuple; empty for one that stands alone."""
    first, _, rest = block.path.partition(".")
    return f"stage {first}" if rest else ""


def summary(blocks: Sequence[Placement]) -> list[str]:
    """The kinds in order, equal neighbours counted: `patch embedding`, `2 depthwise`."""
    runs = [(kind, len(list(run))) for kind, run in groupby(words(operator(block.part).kind()) for block in blocks)]
    return [kind if number == 1 else f"{number} {kind}" for kind, number in runs]


class _Chain:
    """Draws downwards; `y` is where the next element goes."""

    def __init__(self, palette: Palette, cells: Mapping[str, Graph], channels: _Span, areas: _Span) -> None:
        self.palette, self.cells, self.channels, self.areas = palette, cells, channels, areas
        self.repeated = repeats(cells)
        self.parts: list[str] = []
        self.y = 0.0
        self.shape: Shape = ()
        """What the next arrow has to say, if anything."""
        self.last: Shape = ()

    def input(self, shape: Shape) -> None:
        """The input's shape on top."""
        self.parts.append(text(_CENTRE, 14, f"input {shape_text(shape)}", "shape middle"))
        self.y, self.shape = 20.0, ()

    def stage(self, name: str, members: Sequence[Placement]) -> None:
        """The blocks, within a frame if they are a stage."""
        where, top = len(self.parts), self.y
        if name:
            top = self.y + (24 if self.shape else 12)
            self.arrow(top + 26 - self.y)
        for index, (path, blocks) in enumerate(groupby(members, key=self._place)):
            if index or not name:
                self.arrow()
            if path in self.cells:
                self.cell(path, list(blocks))
            else:
                self.block(next(blocks))
        if name:
            self.y += 10
            frame = (
                f'<rect class="frame" x="6" y="{top:.0f}" width="{WIDTH - 12}" height="{self.y - top:.0f}" rx="10"/>'
            )
            self.parts[where:where] = [frame, text(18, top + 16, name, "stage")]

    def _place(self, block: Placement) -> str:
        """The path of the cell that a block stands in, else its own."""
        cell = block.path.rpartition(".")[0]
        return cell if cell in self.cells else block.path

    def cell(self, path: str, blocks: Sequence[Placement]) -> None:
        """A cell as a graph, or a line if it repeats the one before."""
        after = output(blocks[-1])
        if path in self.repeated:
            self.parts.append(text(_CENTRE, self.y + 14, "the same cell once more", "detail middle"))
            self.y += 20
        else:
            by_path = {block.path: block for block in blocks}
            drawing = CellDrawing(self.cells[path], path, by_path, self.palette.css, self.y)
            self.parts += drawing.parts
            self.y = drawing.y
        self.shape, self.last = after if after != self.last else (), after

    def arrow(self, length: float = 16) -> None:
        """An arrow down, with the shape beside it where that has changed since it was last said."""
        length = max(length, 24) if self.shape else length
        beside = self.y + min(length, 24) / 2 + 4
        end = self.y + length
        self.parts.append(f'<path class="arrow" d="M{_CENTRE} {self.y + 1:.0f}V{end - 2:.0f}m-3.5 -4l3.5 4l3.5 -4"/>')
        if self.shape:
            self.parts.append(text(_CENTRE + 10, beside, shape_text(self.shape), "shape"))
        self.y, self.shape = end, ()

    def block(self, block: Placement) -> None:
        """A box with its kind, settings and arithmetic."""
        after = output(block)
        width = NARROW + (WIDE - NARROW) * self.channels.share(after[0])
        kind, badge = operator(block.part).kind(), arithmetic(block.part)
        lines = wrapped(details(block.part), width - 34)
        height = 26 + 14 * len(lines) + TALLER * self.areas.share(area(after))
        left, first = _CENTRE - width / 2, self.y + (height - 14 * len(lines)) / 2 + 4
        settings = [text(left + 18, first + 14 * (n + 1), line, "detail") for n, line in enumerate(lines)]
        hint = f"{words(block.part.kind())}, {shape_text(block.shape)} to {shape_text(after)}"
        box = (
            f'<rect class="box" x="{left:.1f}" y="{self.y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="6"/>'
            f'<rect class="edge" x="{left:.1f}" y="{self.y + 6:.1f}" width="4" height="{height - 12:.1f}" rx="2"/>'
        )
        name = text(left + 18, first, words(kind), "kind")
        mark = _badge(left + width - 8, first, badge) if badge else ""
        self.parts.append(
            f'<g class="{self.palette.css(kind)}"><title>{escape(hint)}</title>{box}{name}{"".join(settings)}{mark}</g>'
        )
        self.y += height
        self.last, self.shape = after, after if after != block.shape else ()

    def finish(self) -> None:
        """The arrow out, and the output's shape."""
        shape, self.shape = self.last, ()
        self.arrow()
        self.parts.append(text(_CENTRE, self.y + 12, f"output {shape_text(shape)}", "shape middle"))
        self.y += 18


def wrapped(settings: Sequence[str], width: float) -> list[str]:
    """The settings as lines of at most this width; a setting is not broken where it fits a line."""
    joined = ", ".join(setting.replace(" ", "\u00a0") for setting in settings)
    lines = textwrap.wrap(joined, max(8, int(width / _CHARACTER)), break_on_hyphens=False)
    return [line.replace("\u00a0", " ") for line in lines]


def _badge(right: float, baseline: float, label: str) -> str:
    """A pill with the arithmetic, its right end at `right`."""
    width = 12 + 6.4 * len(label)
    return (
        f'<rect class="pill" x="{right - width:.1f}" y="{baseline - 12:.1f}" width="{width:.1f}" height="16" rx="8"/>'
        f"{text(right - width / 2, baseline, label, 'badge middle')}"
    )


def strip(architecture: Architecture, palette: Palette) -> str:
    """An architecture in the height of a line: a bar for each block, as tall as it has channels, dotted if integer."""
    blocks = architecture.blocks()
    channels = _Span.of([output(block)[0] for block in blocks])
    bars = "".join(_bar(index, block, channels, palette) for index, block in enumerate(blocks))
    inside = escape(", ".join(summary(blocks)))
    return (
        f'<svg class="strip" xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{inside}" '
        f'width="{7 * len(blocks)}" height="30" viewBox="0 0 {7 * len(blocks)} 30"><title>{inside}</title>{bars}</svg>'
    )


def _bar(index: int, block: Placement, channels: _Span, palette: Palette) -> str:
    height = 9 + 13 * channels.share(output(block)[0])
    dot = f'<circle class="dot" cx="{7 * index + 3}" cy="27.5" r="1.5"/>' if arithmetic(block.part) else ""
    bar = f'<rect class="bar" x="{7 * index}" y="{24 - height:.1f}" width="6" height="{height:.1f}" rx="1.5"/>'
    return f'<g class="{palette.css(operator(block.part).kind())}">{bar}{dot}</g>'
