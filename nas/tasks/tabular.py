"""Architectures that others have evaluated, as a table."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, NotRequired

import numpy as np
from pydantic import ConfigDict, Field
from typing_extensions import TypedDict

from nas.data._images import DataError
from nas.tasks._role import Task

if TYPE_CHECKING:
    from nas.problem import Floats, Genes
    from nas.tasks._columns import Columns
    from nas.tasks._table import Table
    from predictors.encodings._role import Encoding


class Scaled(TypedDict):
    """offset + factor * column: an error from an accuracy in percent is `{column: NAME, offset: 1, factor: -0.01}`."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]
    column: str
    offset: NotRequired[float]
    factor: NotRequired[float]


class Tabular(Task):
    """Look up what a table says of an architecture: nothing is trained, measured or exported."""

    table: str = Field(min_length=1)
    """CSV file with a line of names, which may be compressed by gzip."""
    joined: tuple[str, ...] = ()
    """Further files, whose columns are added."""
    key: str | None = None
    """Column by which files are joined."""
    architecture: str | None = None
    """Column of architectures as text: cells of NAS-Bench-201, or option numbers with spaces between."""
    decisions: tuple[str, ...] = ()
    """Where there is no such column: one for each decision, of any values."""
    objectives: dict[str, str | Scaled] = Field(min_length=1)
    """Column of each value that is known of an architecture, or a column with an offset and a factor."""
    free: tuple[str, ...] = ()
    """Values that a strategy may look up of any architecture before it is evaluated, as costs; bounds keep to them."""

    def load(self) -> Table:
        """The table; equal tasks share it."""
        return _load(self.model_dump_json())


@functools.lru_cache(maxsize=4)
def _load(description: str) -> Table:
    from nas.tasks._columns import joined
    from nas.tasks._table import Table, TableSpace

    task = Tabular.model_validate_json(description)
    columns = joined([task.table, *task.joined], task.key)
    if unknown := set(task.free) - set(task.objectives):
        raise DataError(f"{task.table}: free values must be among the objectives, {sorted(unknown)} are not")
    rows, encoding, descriptions = _architectures(task, columns)
    if len(np.unique(rows, axis=0)) < len(rows):
        raise DataError(f"{task.table}: an architecture stands in several rows")
    values = {name: _values(columns, source, task.table) for name, source in task.objectives.items()}
    return Table(TableSpace(rows, encoding.sizes, descriptions), values, encoding, task.free)


def _values(columns: Columns, source: str | Scaled, path: str) -> Floats:
    """The values [n] that a column, scaled if asked for, holds."""
    from nas.tasks._columns import numbers

    if isinstance(source, str):
        return numbers(columns, source, path)
    return source.get("offset", 0.0) + source.get("factor", 1.0) * numbers(columns, source["column"], path)


def _architectures(task: Tabular, columns: Columns) -> tuple[Genes, Encoding, list[dict[str, str]]]:
    """Rows [n, decisions], how predictors see them, and what each stands for."""
    from nas.tasks._columns import column

    if (task.architecture is None) == (not task.decisions):
        raise DataError(f"{task.table}: name either the column of the architecture, or those of its decisions")
    if task.architecture is None:
        named = {name: column(columns, name, task.table) for name in task.decisions}
        described = [dict(zip(named, row, strict=True)) for row in zip(*named.values(), strict=True)]
        return (*_of_decisions(list(named.values())), described)
    texts = column(columns, task.architecture, task.table)
    described = [{"architecture": text} for text in texts]
    if texts[0].startswith("|"):
        return (*_of_cells(texts, task.table), described)
    lengths = {len(text.split()) for text in texts}
    if len(lengths) != 1 or not all(part.isdigit() for text in texts for part in text.split()):
        raise DataError(f"{task.table}: column {task.architecture} holds no cells and no lists of option numbers")
    return (*_of_decisions(list(zip(*(text.split() for text in texts), strict=True))), described)


def _of_cells(texts: Sequence[str], path: str) -> tuple[Genes, Encoding]:
    from predictors.encodings.nas_bench_201 import NasBench201, parse

    try:
        return np.array([parse(text) for text in texts], dtype=np.int64), NasBench201()
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error


def _of_decisions(texts: Sequence[Sequence[str]]) -> tuple[Genes, Encoding]:
    """One column [n] for each decision: numbers in their order where all are finite, else words, each an option."""
    from predictors.encodings.columns import Columns

    levels = [_levels(column) for column in texts]
    encoding = Columns({str(number): np.unique(column) for number, column in enumerate(levels)})
    return encoding.encode({str(number): column for number, column in enumerate(levels)}), encoding


def _levels(texts: Sequence[str]) -> np.ndarray:
    try:
        found = np.array([float(text) for text in texts])
    except ValueError:
        found = np.array([np.inf])
    return found if np.isfinite(found).all() else np.unique(texts, return_inverse=True)[1].astype(float)
