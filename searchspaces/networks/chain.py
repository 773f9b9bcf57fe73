"""A network written out block by block."""

from __future__ import annotations

from searchspaces.architecture import Layers
from searchspaces.blocks._role import Block
from searchspaces.networks._role import Network, Signature


class Chain(Network):
    """A list of blocks, one after the other; the last one must give the task's outputs."""

    blocks: tuple[Block, ...]

    def layers(self, signature: Signature) -> Layers:
        """The blocks as they are."""
        return self.blocks
