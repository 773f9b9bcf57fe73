"""The JSON Schema of a configuration, for editors: completion, documentation and checks while typing."""

from __future__ import annotations

import types
import typing
from typing import Any, get_args, get_origin

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from nas.catalogue import parts
from nas.comparison import Comparison
from nas.config import Experiment
from nas.lookup import Lookup
from nas.tasks.tabular import Tabular
from searchspaces.parse import Open
from searchspaces.part import Part
from searchspaces.registry import is_role

Schema = dict[str, Any]


def schema() -> Schema:
    """The schema of whatever a file may describe (JSON Schema 2020-12)."""
    writer = _Writer()
    tabular = {"properties": {"kind": {"const": Tabular.kind()}}, "required": ["kind"]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "nas",
        "if": {"properties": {"task": tabular}, "required": ["task"]},
        "then": {"anyOf": [writer.part(Lookup, open=False), writer.part(Comparison, open=False)]},
        "else": writer.part(Experiment, open=False),
        "$defs": writer.definitions,
    }


class _Writer:
    """Collects one definition for each role and part, closed and open."""

    def __init__(self) -> None:
        self.definitions: dict[str, Schema] = {}

    def reference(self, part: type[Part], open: bool) -> Schema:
        """A reference to a part's or role's definition, which is made on first use."""
        name = part.__name__ if is_role(part) else f"{part.__module__.rpartition('.')[2]}.{part.__name__}"
        name += ".open" if open else ""
        if name not in self.definitions:
            self.definitions[name] = {}
            self.definitions[name] = self.role(part, open) if is_role(part) else self.part(part, open)
        return {"$ref": f"#/$defs/{name}"}

    def role(self, role: type[Part], open: bool) -> Schema:
        """One of the role's parts, told apart by `kind`, or a part from outside."""
        outside = {"type": "object", "properties": {"kind": {"pattern": ":"}}, "required": ["kind"]}
        options = [self.part(part, open, kind) for kind, part in parts(role)]
        return {"oneOf": [*options, outside]}

    def part(self, part: type[Part], open: bool, kind: str | None = None) -> Schema:
        """The fields of a part."""
        named = kind is not None or any(is_role(base) for base in part.__bases__ if issubclass(base, Part))
        properties: dict[str, Schema] = {"kind": {"const": kind or part.kind()}} if named else {}
        for name, field in part.model_fields.items():
            opened = open or any(isinstance(mark, Open) for mark in field.metadata)
            properties[name] = self.field(field, opened)
        required = [name for name, field in part.model_fields.items() if field.is_required()]
        return {
            "type": "object",
            "description": part.summary(),
            "properties": properties,
            "required": required if kind is None else ["kind", *required],
            "additionalProperties": False,
        }

    def field(self, field: FieldInfo, open: bool) -> Schema:
        """A field's value, or a choice of such values."""
        metadata = tuple(mark for mark in field.metadata if not isinstance(mark, Open))
        found = self.value(field.annotation, metadata, open)
        return {**found, "description": field.description} if field.description else found

    def value(self, annotation: Any, metadata: tuple[Any, ...], open: bool) -> Schema:
        """The schema of an annotation."""
        found = self.closed(annotation, metadata, open)
        if not open:
            return found
        choice = {"type": "object", "properties": {"choice": {"type": "array", "items": found, "minItems": 1}}}
        return {"anyOf": [found, {**choice, "required": ["choice"], "additionalProperties": False}]}

    def closed(self, annotation: Any, metadata: tuple[Any, ...], open: bool) -> Schema:
        """The schema of an annotation whose outermost value is decided."""
        if isinstance(annotation, type) and issubclass(annotation, Part):
            return self.reference(annotation, open)
        arguments = get_args(annotation)
        if get_origin(annotation) in (typing.Union, types.UnionType):
            return {"anyOf": [self.closed(member, (), open) for member in arguments]}
        if get_origin(annotation) is tuple:
            return self.sequence(arguments, open)
        return TypeAdapter(typing.Annotated[annotation, *metadata] if metadata else annotation).json_schema()

    def sequence(self, arguments: tuple[Any, ...], open: bool) -> Schema:
        """A list of any length, or of one item for each annotation."""
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return {"type": "array", "items": self.value(arguments[0], (), open)}
        items = [self.value(argument, (), open) for argument in arguments]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
