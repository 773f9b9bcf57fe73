"""No gate."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from searchspaces.gates._role import Gate
from searchspaces.part import Shape


class NoGate(Gate):
    """Leaves the features as they are."""

    spatial_ranks: ClassVar[tuple[int, ...]] = (1, 2)

    def build(self, shape: Shape) -> nn.Module:
        """The identity, which has no parameters."""
        return nn.Identity()
