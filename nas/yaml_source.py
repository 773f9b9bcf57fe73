"""A safe YAML 1.2 loader that knows where every value stands: plain data, one clear error with its line, no surprises.

Built on PyYAML's composer. `1e-3` is a number and `no` a string; `1_000` is a number too where it is grouped in threes.
Refused: duplicate keys, tags, several documents, merge keys, recursion, and aliases or nesting that grow out of bounds.
"""

from __future__ import annotations

import copy
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.nodes import MappingNode, Node, ScalarNode
from yaml.parser import Parser
from yaml.reader import Reader, ReaderError
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

MAXIMAL_DEPTH = 64
MAXIMAL_NODES = 100_000
KeyPath = tuple[str | int, ...]

_TOO_DEEP = f"nested more than {MAXIMAL_DEPTH} levels deep"
_PLAIN = "plain"  # what our resolver calls a scalar without quotes
_INTEGER = re.compile(r"[-+]?([0-9]+|[0-9]{1,3}(_[0-9]{3})+)|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_CONSTANTS: dict[str, bool | None] = {
    **dict.fromkeys(["", "~", "null", "Null", "NULL"]),
    **dict.fromkeys(["true", "True", "TRUE"], True),
    **dict.fromkeys(["false", "False", "FALSE"], False),
}


class YamlError(ValueError):
    """What is wrong with a YAML text and where: `file:line: message`; an override has no line."""

    def __init__(self, file: str, line: int | None, message: str) -> None:
        super().__init__(f"{file}: {message}" if line is None else f"{file}:{line}: {message}")
        self.file, self.line, self.message = file, line, message


@dataclass(frozen=True)
class Source:
    """The plain data of a YAML text, and where each part of it was written."""

    data: dict[str, Any]
    file: str
    positions: dict[KeyPath, tuple[int, int]] = field(repr=False)
    overrides: dict[KeyPath, str] = field(default_factory=dict)

    def position(self, path: KeyPath) -> tuple[int, int]:
        """Line and column, both from 1, of the nearest part of the path that the file holds."""
        return next(self.positions[part] for part in _upwards(path) if part in self.positions)

    def where(self, path: KeyPath) -> str:
        """`file:line` of the nearest part of the path, or `--set a.b.c` where an override has given it."""
        for part in _upwards(path):
            if part in self.overrides:
                return self.overrides[part]
            if part in self.positions:
                return f"{self.file}:{self.positions[part][0]}"
        return self.file


def read(path: str | Path) -> Source:
    """The source in a file.

    Raises:
        YamlError: the file is missing, unreadable, not UTF-8, or `load` refuses it.
    """
    try:
        return load(Path(path).read_text(encoding="utf-8-sig"), str(path))
    except UnicodeDecodeError as error:
        raise YamlError(
            str(path), None, f"the file is not UTF-8 text ({error.reason} at byte {error.start})"
        ) from error
    except OSError as error:
        raise YamlError(str(path), None, f"cannot read the file: {error.strerror or error}") from error


def load(text: str, file: str) -> Source:
    """The data and positions of one YAML document whose top level is a mapping.

    Raises:
        YamlError: the text is not such a document, or holds something that this loader refuses.
    """
    root: Any = _compose(text, file)
    if not isinstance(root, MappingNode):
        line, found = (1, "nothing") if root is None else (_place(root)[0], f"a {root.id}")
        raise YamlError(file, line, f"the top level must be a mapping (`key: value` lines), not {found}")
    reading = _Reading(file)
    return Source(reading.value(root, ()), file, reading.positions)


def override(source: Source, assignment: str) -> Source:
    """The source with one value replaced or added: `a.b.0.c=value`, the value read as YAML.

    Sections that are missing are made; a list's index must exist.

    Raises:
        YamlError: there is no `=`, the value is not YAML, or the path leads nowhere.
    """
    name, equals, text = assignment.partition("=")
    label, keys = f"--set {name}", name.strip().split(".")
    if not equals or not all(keys):
        raise YamlError(f"--set {assignment}", None, "must have the form a.b.c=value")
    try:
        root = _compose(text, label)
        value = None if root is None else _Reading(label).value(root, ())
    except YamlError as error:
        raise YamlError(label, None, error.message) from error
    data = copy.deepcopy(source.data)
    path = _assign(data, keys, value, label)
    kept = {part: mark for part, mark in source.positions.items() if part[: len(path)] != path}
    earlier = {part: said for part, said in source.overrides.items() if part[: len(path)] != path}
    return Source(data, source.file, kept, {**earlier, path: label})


class _Loader(Reader, Scanner, Parser, Composer, BaseResolver):
    """PyYAML's composer with bounded depth and without tags."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        BaseResolver.__init__(self)
        self.depth = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        """The next node, unless it is tagged or too deep."""
        event: Any = self.peek_event()
        if getattr(event, "tag", None) is not None:
            problem = f"tags such as {event.tag!r} are refused; quote a value to make it a string"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        if self.depth >= MAXIMAL_DEPTH:
            raise yaml.MarkedYAMLError(problem=_TOO_DEEP, problem_mark=event.start_mark)
        self.depth += 1
        node: Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def resolve(self, kind: type[Node], value: Any, implicit: Any) -> str:
        """Plain scalars are marked for `_plain`; all else is what its quotes or brackets say."""
        return _PLAIN if kind is ScalarNode and implicit[0] else "quoted"


class _Reading:
    """One walk from nodes to data: bounded, noting positions, refusing what the composer lets through."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.positions: dict[KeyPath, tuple[int, int]] = {(): (1, 1)}
        self._open: set[int] = set()
        self._nodes = 0

    def value(self, node: Node, path: KeyPath) -> Any:
        """Plain data of a node, new objects at every use of an alias."""
        self._nodes += 1
        line = self.positions[path[:1]][0]
        if self._nodes > MAXIMAL_NODES:
            raise YamlError(self.file, line, f"more than {MAXIMAL_NODES:,} values once the aliases are expanded")
        if isinstance(node, ScalarNode):
            return self._scalar(node)
        if id(node) in self._open:
            raise self._error(node, "an alias stands inside of what it refers to")
        if len(self._open) >= MAXIMAL_DEPTH:
            raise YamlError(self.file, line, _TOO_DEEP)
        self._open.add(id(node))
        result = self._mapping(node, path) if isinstance(node, MappingNode) else self._sequence(node, path)
        self._open.remove(id(node))
        return result

    def _scalar(self, node: ScalarNode) -> Any:
        try:
            node.value.encode()
            return _plain(node.value) if node.tag == _PLAIN else node.value
        except (ValueError, OverflowError) as error:
            raise self._error(node, str(error)) from error

    def _sequence(self, node: Node, path: KeyPath) -> list[Any]:
        items = []
        for index, item in enumerate(node.value):
            self.positions[(*path, index)] = _place(item)
            items.append(self.value(item, (*path, index)))
        return items

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            key, line = self._key(key_node), key_node.start_mark.line + 1
            if key in lines:
                raise self._error(key_node, f"the key '{key}' is given twice, on lines {lines[key]} and {line}")
            lines[key] = line
            self.positions[(*path, key)] = _place(key_node)
            result[key] = self.value(value_node, (*path, key))
        return result

    def _key(self, node: Any) -> str:
        """A key as it is written: always a string."""
        if not isinstance(node, ScalarNode):
            raise self._error(node, f"a key must be a plain word, not a {node.id}")
        if node.value == "<<" and node.tag == _PLAIN:
            raise self._error(node, "merge keys (<<) are not part of YAML 1.2; repeat the keys")
        self._scalar(node)
        return str(node.value)

    def _error(self, node: Node, message: str) -> YamlError:
        return YamlError(self.file, _place(node)[0], message)


def _compose(text: str, file: str) -> Node | None:
    """The root node of the only document."""
    loader: Any = None
    try:
        loader = _Loader(text)
        root: Node | None = loader.get_single_node()
        return root
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlError(file, line, f"the character {chr(int(error.character))!r} is not allowed") from error
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(file, error) from error
    except (
        ValueError,
        OverflowError,
    ) as error:  # escapes and versions beyond what Python's integers and characters hold
        raise YamlError(file, loader.get_mark().line + 1, f"a number here is out of range: {error}") from error


def _syntax_error(file: str, error: yaml.MarkedYAMLError) -> YamlError:
    """PyYAML's complaint in one line."""
    mark = error.problem_mark or error.context_mark
    message = error.problem or error.context or "not YAML"
    if "expected a single document" in str(error.context):
        message = "there must be one document only; remove this `---`"
    elif error.context:
        began = error.context_mark
        since = f" that begins on line {began.line + 1}" if began and mark and began.line != mark.line else ""
        message = f"{error.context}{since}: {message}"
    if "'\\t'" in message:
        message += " (tabs cannot indent YAML: use spaces)"
    return YamlError(file, mark.line + 1 if mark else None, message)


def _plain(text: str) -> Any:
    """The value of a scalar without quotes: YAML 1.2's core schema, and thousands grouped by `_`."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    if _FLOAT.fullmatch(text):
        number = float(text)
        if math.isinf(number):
            raise ValueError(f"the number {text} is too large")
        return number
    return float(text.replace(".", "")) if _SPECIAL.fullmatch(text) else text


def _assign(data: dict[str, Any], keys: list[str], value: Any, label: str) -> KeyPath:
    """Puts the value at the end of the keys and returns their path with list indices as integers."""
    place: Any = data
    path: KeyPath = ()
    for depth, text in enumerate(keys):
        key = _step(place, text, ".".join(keys[:depth]) or "the top level", label)
        path = (*path, key)
        if depth == len(keys) - 1:
            place[key] = value
        else:
            if isinstance(place, dict) and place.get(text) is None:
                place[text] = {}
            place = place[key]
    return path


def _step(place: Any, text: str, name: str, label: str) -> str | int:
    """The key or index that one word of a path means at this place."""
    if isinstance(place, dict):
        return text
    if not isinstance(place, list):
        raise YamlError(label, None, f"{name} is {place!r}, it holds no '{text}'")
    if not (text.isascii() and text.isdigit() and int(text) < len(place)):
        raise YamlError(label, None, f"{name} has no item '{text}': it is a list of {len(place)}, counted from 0")
    return int(text)


def _upwards(path: KeyPath) -> list[KeyPath]:
    """The path, its parent, and so on to the top."""
    return [path[:length] for length in range(len(path), -1, -1)]


def _place(node: Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1
