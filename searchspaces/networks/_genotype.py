"""Genotypes: cells in the form in which they are published."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

from searchspaces.networks._operations import OPERATIONS

Pairs = tuple[tuple[tuple[str, int], ...], ...]
"""For each inner node its operations with their sources."""
INPUTS = 2


@dataclass(frozen=True)
class Genotype:
    """A normal and a reduction cell, written as in the code of DARTS (arXiv:1806.09055).

    `Genotype(normal=[('sep_conv_3x3', 0), ...], normal_concat=range(2, 6), reduce=[...], reduce_concat=...)` lists two
    operations with their sources for each inner node. The two are kept in the order of their sources.
    """

    normal: Pairs
    reduce: Pairs

    @classmethod
    def parse(cls, text: str) -> Self:
        """The genotype that a text says.

        Raises:
            ValueError: it is not of this form, or a cell's output is not all of its inner nodes.
        """
        try:
            call = ast.parse(text.strip(), mode="eval").body
        except SyntaxError as error:
            raise ValueError(f"not a genotype: {text!r}") from error
        if not isinstance(call, ast.Call) or call.args or getattr(call.func, "id", None) != "Genotype":
            raise ValueError(f"not a genotype: {text!r}")
        fields = {keyword.arg: _value(keyword.value) for keyword in call.keywords}
        if set(fields) != {"normal", "normal_concat", "reduce", "reduce_concat"}:
            raise ValueError(f"a genotype has normal, normal_concat, reduce and reduce_concat: {text!r}")
        return cls(*(_pairs(fields[kind], fields[f"{kind}_concat"]) for kind in ("normal", "reduce")))

    def __str__(self) -> str:
        """The published form."""
        cells = {"normal": self.normal, "reduce": self.reduce}
        fields = (
            f"{kind}={[entry for pair in pairs for entry in pair]}, "
            f"{kind}_concat=range({INPUTS}, {INPUTS + len(pairs)})"
            for kind, pairs in cells.items()
        )
        return f"Genotype({', '.join(fields)})"


def _value(node: ast.expr) -> Any:
    """A literal, or `range` of two numbers as a list."""
    if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "range" and not node.keywords:
        return list(range(*map(ast.literal_eval, node.args)))
    return ast.literal_eval(node)


def _pairs(entries: Any, outputs: Any) -> Pairs:
    """The operations of a cell, node by node.

    Raises:
        ValueError: they are no pairs of a known operation and an earlier node, or the output is another.
    """
    nodes = len(entries) // 2
    if list(outputs) != list(range(INPUTS, INPUTS + nodes)) or len(entries) % 2:
        raise ValueError(f"the output of a cell must be all {nodes} inner nodes, each with two operations: {outputs}")
    for number, (name, source) in enumerate(entries):
        if name not in OPERATIONS or not 0 <= source < INPUTS + number // 2:
            raise ValueError(f"not an operation on a node before node {INPUTS + number // 2}: {(name, source)}")
    found = list(pairwise((str(name), int(source)) for name, source in entries))[::2]
    return tuple(tuple(sorted(pair, key=lambda entry: entry[1])) for pair in found)
