"""Network: a family of networks, as a user names it; it unfolds into a chain of blocks."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from searchspaces.architecture import Layers
from searchspaces.choice import Choice, Depth, paths, renamed, variants
from searchspaces.part import Part, Shape

Width = Annotated[int, Field(ge=1)]
StageDepth = Annotated[int, Field(ge=0)]


class Signature(NamedTuple):
    """What the task asks of a network."""

    input_shape: Shape
    outputs: int


class Network(Part):
    """A family of networks. Its fields may hold open choices."""

    @abstractmethod
    def layers(self, signature: Signature) -> Layers:
        """The chain of blocks, in which this family's open choices stand open."""


def elastic(depth: int | Choice, block: Any, template: Part, shared: bool = False) -> Depth:
    """A stage: the first `depth` of equal blocks.

    Args:
        depth: how many.
        block: the open block, or a tuple of them that repeats.
        template: the part whose choices each repetition takes anew, unless they are shared.
        shared: tie the template's decisions, one for all repetitions.
    """
    own = frozenset[str]() if shared else paths(template)
    return Depth(depth, tuple(renamed(block, own, f"[{index}]") for index in range(max(variants(depth)))))
