"""Every role that a configuration can fill, and every part that there is for it."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Iterator

import hardware
import nas
import predictors
import searchspaces
from searchspaces.part import Part
from searchspaces.registry import is_role, kinds, resolve


def roles() -> dict[str, type[Part]]:
    """The roles by the name of their folder."""
    return dict(sorted(_roles()))


def parts(role: type[Part]) -> list[tuple[str, type[Part]]]:
    """The parts of a role by kind."""
    return [(kind, resolve(role, kind)) for kind in kinds(role)]


def _roles() -> Iterator[tuple[str, type[Part]]]:
    """The abstract part in each folder's `_role.py`."""
    for name in filter(importlib.util.find_spec, _role_files()):
        for _, member in inspect.getmembers(importlib.import_module(name), is_role):
            if member.__module__ == name:
                yield name.split(".")[-2], member


def _role_files() -> Iterator[str]:
    """Where a role may be: `_role` in every package of ours and in each of its folders."""
    for package in (searchspaces, hardware, predictors, nas):
        yield f"{package.__name__}._role"
        for folder in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            if folder.ispkg:
                yield f"{folder.name}._role"
