"""Lateral: a layer that leads past other layers, as in networks that go down to few positions and up again."""

from __future__ import annotations

from typing import Any

from searchspaces.blocks._role import Block
from searchspaces.part import Part


class Lateral(Part):
    """block(x) + layers(x), where the layers are a chain of their own, which may hold further laterals.

    A chain of them, one inside the other, joins features of each resolution on the way down to those of the same
    resolution on the way up. Every block is a place of its own, as in a chain.
    """

    block: Block
    layers: tuple[Any, ...]
    """Nested tuples of blocks and laterals."""

    @classmethod
    def kind(cls) -> str:
        """`lateral`."""
        return "lateral"
