"""NAS-Bench-201 (arXiv:2001.00326): 15,625 cells of six edges, each with one of five operators.

What a row *writes* and what it *computes* differ. An edge is *fed* if a way without `none` leads to it from the input,
*used* if one leads from it to the output, and matters if it is both. A framework executes all, constant folding drops
what is not fed, dead-code elimination what is not used; latencies of all kinds are about, so the encoding shows every
view. Everything is looked up by the number of the cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise, product

import numpy as np
import numpy.typing as npt

from predictors.encodings._arrays import one_hot
from predictors.encodings._role import Encoding, Floats, Genes

OPERATORS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
NONE, SKIP, CONV_1X1, CONV_3X3, POOL = range(len(OPERATORS))
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""(source, target) of each decision, in the order of the architecture string, from the input 0 to the output 3."""
PATHS = tuple(
    tuple(EDGES.index(edge) for edge in pairwise(nodes)) for nodes in ((0, 3), (0, 1, 3), (0, 2, 3), (0, 1, 2, 3))
)
"""The edges of each way from the input to the output."""
_CELLS = 5
_STAGES = ((16, 32), (32, 16), (64, 8))
"""Channels, and pixels along each side, of the three stages of five cells."""
_INPUT, _OUTPUT = 4 * len(OPERATORS), 4 * len(OPERATORS) + 1


def parse(text: str) -> list[int]:
    """The row of an architecture string, `|nor_conv_3x3~0|+|none~0|skip_connect~1|+|...|`.

    Raises:
        ValueError: it is not of this form.
    """
    nodes = [[edge.split("~") for edge in node.strip("|").split("|")] for node in text.split("+")]
    found = {(int(source), target): name for target, node in enumerate(nodes, 1) for name, source in node}
    if set(found) != set(EDGES) or not set(found.values()) <= set(OPERATORS):
        raise ValueError(f"not a cell of NAS-Bench-201: {text!r}")
    return [OPERATORS.index(found[edge]) for edge in EDGES]


def text(row: Genes) -> str:
    """The architecture string of a row."""
    named = [(target, f"{OPERATORS[option]}~{source}") for (source, target), option in zip(EDGES, row, strict=True)]
    return "+".join("|" + "|".join(name for at, name in named if at == node) + "|" for node in (1, 2, 3))


class NasBench201(Encoding):
    """Rows of the operators' numbers on the edges (1<-0), (2<-0), (2<-1), (3<-0), (3<-1), (3<-2).

    A token is an operator that is fed, used, both or neither; the input and the output are tokens, too.
    """

    @property
    def signature(self) -> str:
        """The same for all: the space is fixed."""
        return "nas_bench_201:1"

    @property
    def sizes(self) -> Genes:
        """Five operators on each edge."""
        return np.full(len(EDGES), len(OPERATORS), dtype=np.int64)

    @property
    def vocabulary(self) -> int:
        """Operators in four states, input, output."""
        return 4 * len(OPERATORS) + 2

    def features(self, matrix: Genes) -> npt.NDArray[np.float32]:
        """Operators of each view, their numbers, depths, ways, degrees, and logarithms of physics."""
        return self._features[_number(matrix)]

    def physics(self, matrix: Genes) -> Floats:
        """MACs, bytes written, kernels and sums in the whole network, of each of the four views."""
        return self._physics[_number(matrix)]

    def tokens(self, matrix: Genes) -> Genes:
        """The input, an operator for each edge, the output."""
        return self._tokens[_number(matrix)]

    def edges(self, matrix: Genes) -> npt.NDArray[np.bool_]:
        """An operator reads those that end where it begins."""
        sources, targets = zip(*EDGES, strict=True)
        begin, end = np.array([-1, *sources, 3]), np.array([0, *targets, -2])
        return np.broadcast_to(end[:, None] == begin, (len(matrix), len(end), len(end)))

    def canonical(self, matrix: Genes) -> Genes:
        """The first of all cells that execute the same operators on the same tensors."""
        return _CELLS_OF[self._first[_number(matrix)]]

    @cached_property
    def _fed(self) -> npt.NDArray[np.bool_]:
        """[cells, edges]: whether an edge carries something that depends on the input."""
        return _reached(_CELLS_OF, EDGES)

    @cached_property
    def _used(self) -> npt.NDArray[np.bool_]:
        """[cells, edges]: whether the output depends on what an edge carries."""
        return _reached(_CELLS_OF[:, ::-1], [(end, begin) for begin, end in EDGES[::-1]])[:, ::-1]

    @cached_property
    def _views(self) -> tuple[Genes, ...]:
        """The cells as written, as folded, as pruned, and both: [cells, edges] each."""
        fed, used = self._fed, self._used
        return _CELLS_OF, *(np.where(kept, _CELLS_OF, NONE) for kept in (fed, used, fed & used))

    @cached_property
    def _tokens(self) -> Genes:
        operators = _CELLS_OF + len(OPERATORS) * (self._fed + 2 * self._used)
        ends = [np.full((len(operators), 1), token) for token in (_INPUT, _OUTPUT)]
        return np.concatenate([ends[0], operators, ends[1]], axis=1)

    @cached_property
    def _physics(self) -> Floats:
        return np.concatenate([_amounts(view) for view in self._views], axis=1)

    @cached_property
    def _features(self) -> npt.NDArray[np.float32]:
        """Columns that are constant or repeat another one are left out."""
        of_views = [(one_hot(view, self.sizes), _counts(view), _depths(view)) for view in self._views]
        logs = np.log1p(self._physics / self._physics.max(axis=0) * 9)
        parts = [part for parts in of_views for part in parts] + [_ways(_CELLS_OF), _ways(self._views[-1]), logs]
        every = np.concatenate(parts, axis=1).astype(np.float32)
        _, first = np.unique(every, axis=1, return_index=True)
        return np.ascontiguousarray(every[:, [column for column in sorted(first) if np.ptp(every[:, column]) > 0]])

    @cached_property
    def _first(self) -> Genes:
        """[cells]: the number of the first cell that executes the same."""
        seen: dict[str, int] = {}
        return np.array([seen.setdefault(_executed(row), number) for number, row in enumerate(_CELLS_OF.tolist())])


_CELLS_OF: Genes = np.array(list(product(range(len(OPERATORS)), repeat=len(EDGES))), dtype=np.int64)
"""Every cell by its number."""
_PLACES = len(OPERATORS) ** np.arange(len(EDGES) - 1, -1, -1)


def _number(matrix: Genes) -> Genes:
    found: Genes = matrix @ _PLACES
    return found


def _reached(cells: Genes, edges: Sequence[tuple[int, int]]) -> npt.NDArray[np.bool_]:
    """Which edges (from, to) carry something that depends on node `edges[0][0]`, in their order: [cells, 6]."""
    carries = np.zeros(cells.shape, dtype=bool)
    for number, (begin, _) in enumerate(edges):
        entering = [other for other, (_, end) in enumerate(edges) if end == begin]
        carries[:, number] = (carries[:, entering].any(axis=1) if entering else True) & (cells[:, number] != NONE)
    return carries


def _counts(cells: Genes) -> Floats:
    """How many edges have each operator: [cells, 6] -> [cells, 5]."""
    return (cells[:, :, None] == np.arange(len(OPERATORS))).sum(axis=1).astype(float)


def _ways(cells: Genes) -> Floats:
    """Open ways, those with a convolution, and the edges that leave or enter each node: [cells, 6] -> [cells, 8]."""
    open_, convolved = cells != NONE, (cells == CONV_1X1) | (cells == CONV_3X3)
    through = np.stack([open_[:, path].all(axis=1) for path in PATHS], axis=1)
    useful = np.stack([convolved[:, path].any(axis=1) for path in PATHS], axis=1) & through
    nodes = [open_[:, [edge[end] == node for edge in EDGES]].sum(axis=1) for end, node in product((0, 1), range(4))]
    degrees = [degree for degree in nodes if degree.any()]
    return np.stack([through.sum(axis=1), useful.sum(axis=1), *degrees], axis=1).astype(float)


def _depths(cells: Genes) -> Floats:
    """The longest open way in edges, in kernels, in convolutions, and in MACs: [cells, 6] -> [cells, 4]."""
    lengths = np.array([[0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1], [1, 1, 1, 9], [1, 1, 0, 0]], dtype=float)[cells]
    ways = [lengths[:, path].sum(axis=1) * (cells[:, path] != NONE).all(axis=1, keepdims=True) for path in PATHS]
    return np.max(ways, axis=0)


def _amounts(cells: Genes) -> Floats:
    """MACs, bytes written, kernels of the operators in all cells of the network, and sums at the nodes: [cells, 4]."""
    numbers = _counts(cells)
    pixels = sum(channels * side**2 for channels, side in _STAGES) * _CELLS
    macs = sum(channels**2 * side**2 for channels, side in _STAGES) * _CELLS
    kernels = _CELLS * len(_STAGES)
    written = 4.0 * pixels * (numbers @ [0, 0, 3, 3, 1])
    sums = sum(np.maximum((cells[:, [t == node for _, t in EDGES]] != NONE).sum(axis=1) - 1, 0) for node in (1, 2, 3))
    return np.stack(
        [macs * (numbers @ [0, 0, 1, 9, 0]), written, kernels * (numbers @ [0, 0, 3, 3, 1]), kernels * sums], axis=1
    )


def _executed(row: list[int]) -> str:
    """The output as an expression of the input, and each operator that runs on its way, used or not.

    `skip_connect` is the identity. Only what no runtime can tell apart is equal: a framework may run one operator twice
    on one tensor, or one whose output is multiplied by zero, and then takes time for it.
    """
    nodes, ran = ["x"], []
    for node in (1, 2, 3):
        terms = []
        for (source, target), operator in zip(EDGES, row, strict=True):
            if target == node:
                terms.append(nodes[source] if operator == SKIP else f"{operator}({nodes[source]})")
                ran += [] if operator == SKIP else terms[-1:]
        nodes.append("(" + "+".join(sorted(terms)) + ")" if len(terms) > 1 else terms[0])
    return f"{nodes[3]} of {sorted(ran)}"
