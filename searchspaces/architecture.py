"""Architecture: a network description in which everything is decided."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from searchspaces.blocks._role import Block
from searchspaces.parse import parse
from searchspaces.part import Shape, describe

if TYPE_CHECKING:
    from torch import nn

Layers = tuple[Any, ...]
"""A nested tuple of blocks: the chain of a network, its stages as inner tuples."""


class Placement(NamedTuple):
    """A block at one place of a network."""

    path: str
    part: Block
    shape: Shape
    """Shape of one input sample."""


@dataclass(frozen=True)
class Architecture:
    """A chain of decided blocks. It maps [b *input_shape] to the last block's output."""

    input_shape: Shape
    layers: Layers

    @cached_property
    def id(self) -> str:
        """Twelve hexadecimal digits that name this architecture."""
        text = json.dumps(self.describe(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def describe(self) -> dict[str, Any]:
        """Plain JSON data that `Architecture.parse` reads back."""
        return {"input_shape": list(self.input_shape), "layers": describe(self.layers)}

    @classmethod
    def parse(cls, data: dict[str, Any]) -> Architecture:
        """The architecture that plain data describes.

        Raises:
            DescriptionError: the data is not a valid description.
        """
        return cls(tuple(data["input_shape"]), _parse_layers(data["layers"], ("layers",)))

    def blocks(self) -> list[Placement]:
        """The blocks in the order of execution, each with its path and input shape."""
        shape, placements = self.input_shape, []
        for path, part in flatten(self.layers):
            placements.append(Placement(path, part, shape))
            shape = part.output_shape(shape)
        return placements

    def build(self, quantize: bool = True) -> nn.Sequential:
        """The standalone network with freshly initialized parameters.

        Args:
            quantize: prepare fake quantization where a block's policy asks for it.
        """
        from torch import nn

        modules = [(placement.part, placement.part.build(placement.shape)) for placement in self.blocks()]
        return nn.Sequential(*(part.quantization.prepare(module) if quantize else module for part, module in modules))


def flatten(layers: Layers, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested tuples with their dotted paths."""
    for index, item in enumerate(layers):
        if isinstance(item, tuple):
            yield from flatten(item, f"{prefix}{index}.")
        else:
            yield f"{prefix}{index}", item


def _parse_layers(data: Any, path: tuple[str | int, ...]) -> Any:
    if isinstance(data, list):
        return tuple(_parse_layers(item, (*path, index)) for index, item in enumerate(data))
    return parse(Block, data, at=path)
