"""What is wrong with a description: every fault with its place, all at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Fault:
    """One thing wrong at one place of a description."""

    path: Path
    message: str

    def __str__(self) -> str:
        """`a.b.0.c: message`."""
        return f"{dotted(self.path) or '(top level)'}: {self.message}"


class DescriptionError(ValueError):
    """A description that cannot be read, with all its faults."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, self.faults)))


def dotted(path: Path) -> str:
    """`a.b.0.c`."""
    return ".".join(map(str, path))
