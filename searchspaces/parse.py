"""Plain data (from YAML or JSON) -> parts, with choices left open where the data leaves them open."""

from __future__ import annotations

import itertools
import types
import typing
from typing import Any, TypeVar, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from searchspaces.choice import Choice, is_open, overlap, rebuild, variants
from searchspaces.faults import DescriptionError, Fault, Path, dotted
from searchspaces.part import Part
from searchspaces.registry import UnknownKindError, did_you_mean, is_role, resolve

P = TypeVar("P", bound=Part)

MOST_VARIANTS = 4096
_INVALID: Any = object()


class Open:
    """Marks a field, as `Annotated[Network, Open()]`, whose description may leave choices open."""


def parse(expected: type[P], data: Any, *, at: Path = (), open: bool = False) -> P:
    """The part that the data describes.

    Args:
        expected: a part class, or a role whose `kind` the data names.
        data: nested dictionaries, lists and scalars.
        at: where the data stands in the whole description, for messages and for the names of choices.
        open: whether `{choice: [...]}` is allowed.

    Raises:
        DescriptionError: with every fault found, each at its path.
    """
    parser = _Parser(open)
    value = parser.part(expected, data, at)
    if parser.faults:
        raise DescriptionError(parser.faults)
    return typing.cast(P, value)


class _Parser:
    """Walks data beside the annotations of the parts, and collects faults instead of stopping at the first."""

    def __init__(self, open: bool) -> None:
        self.open = open
        self.faults: list[Fault] = []

    def fault(self, path: Path, message: str) -> Any:
        self.faults.append(Fault(path, message))
        return _INVALID

    def value(self, annotation: Any, field: FieldInfo | None, data: Any, path: Path) -> Any:
        """A field's value: a choice, a part, a sequence or a plain value."""
        if isinstance(data, dict) and "choice" in data:
            return self.choice(annotation, field, data, path)
        if isinstance(data, Part):
            return data
        part = _part_in(annotation)
        if part is not None and not (data is None and type(None) in _alternatives(annotation)):
            return self.part(part, data, path)
        items = _item_annotations(annotation, data)
        if items is not None:
            values = tuple(self.value(item, None, entry, (*path, i)) for i, (item, entry) in enumerate(items))
            if _INVALID in values or any(map(is_open, values)):
                return _INVALID if _INVALID in values else values
            data = values
        return self.plain(annotation, field, data, path)

    def plain(self, annotation: Any, field: FieldInfo | None, data: Any, path: Path) -> Any:
        """A value without parts or choices, by its annotation and bounds."""
        try:
            metadata = tuple(field.metadata) if field else ()
            adapter = TypeAdapter(typing.Annotated[annotation, *metadata] if metadata else annotation)
            return adapter.validate_python(data, strict=True)
        except ValidationError as error:
            return self.fault(path, _first_message(error, data))

    def choice(self, annotation: Any, field: FieldInfo | None, data: dict[str, Any], path: Path) -> Any:
        """`{choice: [...]}`: each option stands where the value would."""
        options = data["choice"]
        if not self.open:
            return self.fault(path, "nothing can be left to choose here; give one value")
        if set(data) != {"choice"}:
            return self.fault(path, f"a choice has no other keys: {', '.join(sorted(set(data) - {'choice'}))}")
        if not isinstance(options, list | tuple) or not options:
            return self.fault((*path, "choice"), "a choice needs a list of at least one option")
        values = tuple(self.value(annotation, field, option, (*path, i)) for i, option in enumerate(options))
        if _INVALID in values:
            return _INVALID
        for (i, first), (j, second) in itertools.combinations(enumerate(values), 2):
            if overlap(first, second):
                return self.fault((*path, "choice"), f"options {i + 1} and {j + 1} have an architecture in common")
        return Choice(dotted(path), values) if len(values) > 1 else values[0]

    def part(self, expected: type[Part], data: Any, path: Path) -> Any:
        """A part from a mapping, of the class that `kind` names where a role is expected."""
        if isinstance(data, Part):
            return data
        if not isinstance(data, dict):
            return self.fault(path, f"expected a mapping that describes a {expected.__name__}, not {_show(data)}")
        found = self.part_class(expected, data, path)
        if found is _INVALID:
            return _INVALID
        values = self.fields(found, {key: item for key, item in data.items() if key != "kind"}, path)
        return _INVALID if values is _INVALID else self.construct(found, values, path)

    def part_class(self, expected: type[Part], data: dict[str, Any], path: Path) -> Any:
        if not is_role(expected):
            if data.get("kind", expected.kind()) == expected.kind():
                return expected
            return self.fault((*path, "kind"), f"this is always a {expected.kind()}; leave `kind` out")
        if "kind" not in data:
            return self.fault(path, f"`kind` is missing: which {expected.__name__}?")
        try:
            return resolve(expected, data["kind"])
        except UnknownKindError as error:
            return self.fault((*path, "kind"), str(error))

    def fields(self, part: type[Part], data: dict[str, Any], path: Path) -> Any:
        """The values of a part's fields; unknown and missing keys are faults."""
        before = len(self.faults)
        known = part.model_fields
        for key in data:
            if key not in known:
                self.fault((*path, key), f"unknown key{did_you_mean(key, known)}; there are: {', '.join(known)}")
        values = {}
        for name, field in known.items():
            if name in data:
                values[name] = self.field(field, data[name], (*path, name))
            elif field.is_required():
                self.fault((*path, name), "is missing")
        return values if len(self.faults) == before else _INVALID

    def field(self, field: FieldInfo, data: Any, path: Path) -> Any:
        """A field's value, open where the field is marked so."""
        before, self.open = self.open, self.open or any(isinstance(mark, Open) for mark in field.metadata)
        value = self.value(field.annotation, field, data, path)
        self.open = before
        return value

    def construct(self, part: type[Part], values: dict[str, Any], path: Path) -> Any:
        """The part; an open one with rules across its fields becomes a choice of its valid forms."""
        if not any(map(is_open, values.values())):
            try:
                return part(**values)
            except ValidationError as error:
                return self.fault(path, _first_message(error, None))
        opened = part.opened(**values)
        return self.valid_forms(opened, path) if part.__pydantic_decorators__.model_validators else opened

    def valid_forms(self, opened: Part, path: Path) -> Any:
        """A choice among the decided forms that the part's own rules accept, so that counting stays exact."""
        names = [name for name, _ in opened.items()]
        forms: list[Part] = []
        reason = ""
        for combination in itertools.product(*(list(variants(value)) for _, value in opened.items())):
            try:
                forms.append(rebuild(opened, dict(zip(names, combination, strict=True))))
            except ValidationError as error:
                reason = _first_message(error, None)
            if len(forms) > MOST_VARIANTS:
                return self.fault(path, f"more than {MOST_VARIANTS} forms of one {opened.kind()}: leave less open")
        if not forms:
            return self.fault(path, f"no combination of these choices is valid: {reason}")
        return Choice(dotted(path), tuple(forms)) if len(forms) > 1 else forms[0]


def _part_in(annotation: Any) -> type[Part] | None:
    """The part class in an annotation such as `Gate` or `Gate | None`."""
    for candidate in _alternatives(annotation):
        if isinstance(candidate, type) and issubclass(candidate, Part):
            return candidate
    return None


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    """The types that an annotation allows, out of unions and `Annotated` at any depth."""
    if get_origin(annotation) is typing.Annotated:
        return _alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (typing.Union, types.UnionType):
        return tuple(itertools.chain.from_iterable(map(_alternatives, get_args(annotation))))
    return (annotation,)


def _item_annotations(annotation: Any, data: Any) -> list[tuple[Any, Any]] | None:
    """The entries of a list with the annotation of each, where a tuple is expected."""
    if not isinstance(data, list | tuple):
        return None
    for candidate in _alternatives(annotation):
        arguments = get_args(candidate) if get_origin(candidate) is tuple else ()
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return [(arguments[0], entry) for entry in data]
        if arguments and len(arguments) == len(data):
            return list(zip(arguments, data, strict=True))
    return None


def _first_message(error: ValidationError, data: Any) -> str:
    """Pydantic's first complaint in plain words."""
    first = error.errors(include_url=False)[0]
    message = first["msg"].removeprefix("Value error, ").replace("Input should be", "should be")
    where = ".".join(str(item) for item in first["loc"] if isinstance(item, int))
    literal = first.get("ctx", {}).get("expected", "")
    hint = did_you_mean(data, [word.strip("' ") for word in literal.replace(" or ", ",").split(",")]) if data else ""
    shown = "" if data is None and first["type"] == "value_error" else f", not {_show(first.get('input'))}"
    return f"{message}{shown if first['type'] != 'value_error' else ''}{hint}{f' (entry {where})' if where else ''}"


def _show(data: Any) -> str:
    """Data as a short piece of text."""
    text = repr(data)
    return text if len(text) <= 60 else f"{text[:57]}..."
