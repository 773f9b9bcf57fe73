"""Assets: the files of this package that pages are made of."""

from __future__ import annotations

from importlib import resources


def asset(name: str) -> str:
    """The text of a file of this package."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
