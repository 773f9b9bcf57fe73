"""Source of classes together with all that it refers to, free of annotations that need more than torch."""

from __future__ import annotations

import ast
import builtins
import importlib
import importlib.util
import inspect
import symtable
import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from hardware.measurement import MeasurementError

_OFFERED = frozenset({"torch", *sys.stdlib_module_names})
"""Packages that the copied source may import."""

Import = tuple[str, str, str]
"""Module, name in it (empty for the module itself), and the name it is given."""

Edit = tuple[int, int, bytes]
"""First byte, byte after the last, and what stands there instead."""


class Definitions:
    """Top-level definitions, each after those that it refers to."""

    def __init__(self, reserved: set[str]) -> None:
        self.texts: list[str] = []
        self.imports: set[Import] = set()
        self._taken = set(reserved)
        self._names: dict[tuple[str, str], str] = {}

    def add(self, cls: type) -> str:
        """Copies a class and returns its name in the copy.

        Raises:
            MeasurementError: its source is not at hand, or refers to a package other than torch.
        """
        return self._define(cls.__module__, cls.__qualname__)

    def _define(self, module: str, name: str) -> str:
        """The name, in the copy, of what a module calls so; copied first if it is not there yet."""
        if (module, name) not in self._names:
            statement = _bindings(module).get(name)
            if isinstance(statement, ast.Import | ast.ImportFrom):
                self._names[module, name] = self._imported(module, name, statement)
            elif statement is not None:
                self._names[module, name] = self._unused(name)
                self._copy(module, name, statement)
            else:
                raise _refusal(f"{module} has no definition of {name} at its top level")
        return self._names[module, name]

    def _imported(self, module: str, name: str, statement: ast.Import | ast.ImportFrom) -> str:
        """The name in the copy of something imported: as an import of the copy, or as a definition copied in turn."""
        alias = next(alias for alias in statement.names if (alias.asname or alias.name) == name)
        source, member = (
            (alias.name, "") if isinstance(statement, ast.Import) else (_origin(module, statement), alias.name)
        )
        if source.partition(".")[0] in _OFFERED:
            self.imports.add((source, member, name))
            self._taken.add(name)
            return name
        if not member or source.partition(".")[0] == "jaxtyping":
            raise _refusal(f"{module} uses {source} as {name}")
        return self._define(source, member)

    def _copy(self, module: str, name: str, statement: ast.stmt) -> None:
        """Appends a definition, what it refers to first."""
        text = _erased(_segment(module, statement), _bindings(module))
        wanted = {used: self._names.get((module, used)) or self._define(module, used) for used in _used(module, text)}
        renamed = {old: new for old, new in {**wanted, name: self._names[module, name]}.items() if old != new}
        self.texts.append(_renamed(text, renamed))

    def _unused(self, name: str) -> str:
        """The name, with a number where another definition has it already."""
        candidates = [name, *(f"{name}{number}" for number in range(2, len(self._taken) + 3))]
        found = next(candidate for candidate in candidates if candidate not in self._taken)
        self._taken.add(found)
        return found


class _Module(NamedTuple):
    """A module's text and what its top level binds."""

    lines: list[str]
    bindings: dict[str, ast.stmt]


@lru_cache(maxsize=256)
def _read(module: str) -> _Module:
    """The source of a module."""
    try:
        text = inspect.getsource(importlib.import_module(module))
    except (OSError, TypeError, ImportError) as error:
        raise _refusal(f"the source of {module} is not at hand: {error}") from error
    statements = ast.parse(text).body
    return _Module(text.splitlines(keepends=True), {name: node for node in statements for name in _bound(node)})


def _bindings(module: str) -> dict[str, ast.stmt]:
    return _read(module).bindings


def _bound(statement: ast.stmt) -> Iterator[str]:
    """Names that a statement at the top level binds."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name for alias in statement.names)
    elif isinstance(statement, ast.FunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        yield from (node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name))


def _origin(module: str, statement: ast.ImportFrom) -> str:
    """The absolute name of the module that `from ... import` names."""
    relative = "." * statement.level + (statement.module or "")
    return importlib.util.resolve_name(relative, importlib.import_module(module).__package__)


def _segment(module: str, statement: ast.stmt) -> str:
    """The lines of a definition, decorators included."""
    decorators = getattr(statement, "decorator_list", [])
    first = min([statement.lineno, *(decorator.lineno for decorator in decorators)])
    return "".join(_read(module).lines[first - 1 : statement.end_lineno])


def _erased(text: str, bindings: dict[str, ast.stmt]) -> str:
    """The text with `Float[Tensor, "b c"]` as `Tensor`, and without what only a supernet and its training call."""
    tree, encoded = ast.parse(text), text.encode()
    starts = _line_starts(encoded)
    edits: list[Edit] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and _is_jaxtyping(node.value, bindings):
            kept = node.slice.elts[0] if isinstance(node.slice, ast.Tuple) else node.slice
            edits.append((*_span(node, starts), encoded[slice(*_span(kept, starts))]))
        if isinstance(node, ast.ClassDef):
            edits += [_removal(node, item, starts) for item in node.body if _is_for_training(item)]
    return _edited(encoded, edits)


def _is_jaxtyping(node: ast.expr, bindings: dict[str, ast.stmt]) -> bool:
    """Whether a name is one of jaxtyping's."""
    statement = bindings.get(node.id) if isinstance(node, ast.Name) else None
    return isinstance(statement, ast.ImportFrom) and statement.module == "jaxtyping"


def _is_for_training(item: ast.stmt) -> bool:
    """Whether a member of a class is for shared weights alone.

    That is `take`, by which a supernet slices its parameters, `hidden_axes`, `channel_axes` and `sortable`, by which it
    sorts them, or `auxiliary_losses`, added to the task's.
    """
    if isinstance(item, ast.Assign):
        return [target.id for target in item.targets if isinstance(target, ast.Name)] == ["sortable"]
    if not isinstance(item, ast.FunctionDef):
        return False
    named = item.name in ("auxiliary_losses", "hidden_axes", "channel_axes")
    return named or (item.name == "take" and bool(item.decorator_list))


def _removal(owner: ast.ClassDef, item: ast.stmt, starts: list[int]) -> Edit:
    """The edit that removes a method up to the statement that is kept behind it, or from the one before."""
    index = owner.body.index(item)
    before, behind = (
        [other for other in part if not _is_for_training(other)]
        for part in (owner.body[:index], owner.body[index + 1 :])
    )
    if not behind:
        return starts[(before[-1].end_lineno or 0)], _span(item, starts)[1], b""
    after = behind[0]
    lines = [min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))]) for node in (item, after)]
    return starts[lines[0] - 1], starts[lines[1] - 1], b""


def _used(module: str, text: str) -> list[str]:
    """Names of the module that a definition refers to, builtins aside.

    Raises:
        MeasurementError: a name is neither the module's nor a builtin.
    """
    found = set()
    tables = [symtable.symtable(text, module, "exec")]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        top = table.get_type() == "module"
        found |= {
            symbol.get_name()
            for symbol in table.get_symbols()
            if symbol.is_referenced() and (not symbol.is_assigned() if top else symbol.is_global())
        }
    own = {name for node in ast.parse(text).body for name in _bound(node)}
    unknown = sorted(name for name in found - own if name not in _bindings(module) and not hasattr(builtins, name))
    if unknown:
        raise _refusal(f"{module} has no definition of {unknown[0]} at its top level")
    return sorted(name for name in found - own if name in _bindings(module))


def _renamed(text: str, names: dict[str, str]) -> str:
    """The text with other names for some of its globals."""
    if not names:
        return text
    encoded = text.encode()
    starts = _line_starts(encoded)
    edits: list[Edit] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Name) and node.id in names:
            edits.append((*_span(node, starts), names[node.id].encode()))
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name in names:
            keyword = len("class " if isinstance(node, ast.ClassDef) else "def ")
            first = starts[node.lineno - 1] + keyword
            edits.append((first, first + len(node.name.encode()), names[node.name].encode()))
    return _edited(encoded, edits)


def _line_starts(encoded: bytes) -> list[int]:
    """The first byte of each line, and the byte after the last."""
    starts = [0]
    for line in encoded.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return starts


def _span(node: ast.expr | ast.stmt, starts: list[int]) -> tuple[int, int]:
    """The bytes of a node."""
    return starts[node.lineno - 1] + node.col_offset, starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)


def _edited(encoded: bytes, edits: list[Edit]) -> str:
    """The text after all edits; of nested ones the outer holds."""
    position, pieces = 0, []
    for first, end, replacement in sorted(edits, key=lambda edit: (edit[0], -edit[1])):
        if first >= position:
            pieces += [encoded[position:first], replacement]
            position = end
    return b"".join([*pieces, encoded[position:]]).decode()


def _refusal(reason: str) -> MeasurementError:
    return MeasurementError("unsupported_operator", f"cannot be written as plain torch source: {reason}")
