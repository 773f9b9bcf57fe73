"""Columns of CSV files, joined by a key."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nas.data._images import DataError
from nas.problem import Floats
from searchspaces.registry import did_you_mean

Columns = dict[str, list[str]]


def joined(paths: Sequence[str], key: str | None) -> Columns:
    """The columns of all files, for the rows of the first one.

    Args:
        paths: CSV files with a line of names, which may be compressed by gzip.
        key: the column whose values tell which rows of several files belong together.

    Raises:
        DataError: a file is missing or no such table, a key is repeated, or a file lacks a row.
    """
    found = read_csv(paths[0])
    for path in paths[1:]:
        if key is None:
            raise DataError(f"{path}: name the column that joins it to {paths[0]}, as key: COLUMN")
        other = read_csv(path)
        numbers = {value: number for number, value in enumerate(column(other, key, path))}
        if len(numbers) < len(other[key]):
            raise DataError(f"{path}: column {key} holds a value twice; join by one whose values are unique")
        wanted = column(found, key, paths[0])
        missing = [value for value in wanted if value not in numbers]
        if missing:
            raise DataError(f"{path}: {len(missing):,} rows of {paths[0]} are missing, such as {key} = {missing[0]}")
        for name in other.keys() - found.keys():
            found[name] = [other[name][numbers[value]] for value in wanted]
    return found


def read_csv(path: str) -> Columns:
    """The columns of one file, as text by name.

    Raises:
        DataError: it is missing, or is no table.
    """
    try:
        data = Path(path).expanduser().read_bytes()
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()
        lines = list(csv.reader(io.StringIO(text)))
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV ({error}); a table with a line of names is needed") from error
    if len(lines) < 2 or {len(line) for line in lines} != {len(lines[0])}:
        raise DataError(f"{path}: a line of names and rows of as many values are needed")
    return {name: list(values) for name, values in zip(lines[0], zip(*lines[1:], strict=True), strict=True)}


def column(columns: Columns, name: str, path: str) -> list[str]:
    """One column.

    Raises:
        DataError: there is none of that name.
    """
    if name not in columns:
        raise DataError(f"{path}: there is no column {name}{did_you_mean(name, columns)}")
    return columns[name]


def numbers(columns: Columns, name: str, path: str) -> Floats:
    """One column of finite numbers [n].

    Raises:
        DataError: there is none of that name, or it holds something else.
    """
    texts = column(columns, name, path)
    try:
        found = np.array([float(text) for text in texts])
    except ValueError as error:
        raise DataError(f"{path}: column {name} must hold numbers ({error})") from error
    if not np.isfinite(found).all():
        raise DataError(f"{path}: row {int(np.argmin(np.isfinite(found))) + 1} of column {name} is not a finite number")
    return found
