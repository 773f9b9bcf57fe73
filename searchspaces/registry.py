"""The file is the name: `kind: attention` is the one public class of `attention.py` in its role's folder."""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Iterable
from typing import Any, TypeVar

from searchspaces.part import Part

P = TypeVar("P", bound=Part)


class UnknownKindError(ValueError):
    """No part of that name plays the role; the message suggests the nearest names."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)` for the nearest known name, or nothing."""
    near = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    return f" (did you mean '{near[0]}'?)" if near else ""


def is_role(annotation: Any) -> bool:
    """Whether this is an abstract part, which a `kind` makes concrete."""
    return inspect.isclass(annotation) and issubclass(annotation, Part) and inspect.isabstract(annotation)


def kinds(role: type[Part]) -> list[str]:
    """The names that a role's folder offers."""
    package = importlib.import_module(role.__module__.rpartition(".")[0])
    modules = pkgutil.iter_modules(package.__path__)
    return sorted(module.name for module in modules if not (module.ispkg or module.name.startswith("_")))


def resolve(role: type[P], kind: str) -> type[P]:
    """The class behind a kind.

    Raises:
        UnknownKindError: nothing of that name plays the role.
    """
    if not isinstance(kind, str):
        raise UnknownKindError(f"kind must be a name, not {kind!r}")
    if ":" in kind:
        return _from_outside(role, kind)
    if kind not in kinds(role):
        known = kinds(role)
        hint = did_you_mean(kind, known)
        raise UnknownKindError(f"no {role.__name__} is called '{kind}'{hint}; there are: {', '.join(known)}")
    module = importlib.import_module(f"{role.__module__.rpartition('.')[0]}.{kind}")
    found = [
        member
        for name, member in vars(module).items()
        if inspect.isclass(member) and issubclass(member, role) and member.__module__ == module.__name__
        if not name.startswith("_")
    ]
    if len(found) != 1:
        raise UnknownKindError(f"{module.__name__} must hold one public {role.__name__}, it holds {len(found)}")
    return found[0]


def _from_outside(role: type[P], kind: str) -> type[P]:
    """The class behind `package.module:Class`."""
    module_name, _, class_name = kind.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise UnknownKindError(f"cannot import '{kind}': {error}") from error
    if not (inspect.isclass(found) and issubclass(found, role)):
        raise UnknownKindError(f"'{kind}' is not a {role.__name__}")
    return found
