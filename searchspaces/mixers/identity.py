"""No exchange between positions: the lower bound of every comparison of token mixers."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from searchspaces.mixers._role import TokenMixer
from searchspaces.part import Shape


class Identity(TokenMixer):
    """Returns its input (the identity mapping of MetaFormer's ablation: Yu et al., 2022, arXiv:2111.11418, table 5)."""

    spatial_ranks: ClassVar[tuple[int, ...]] = (1, 2)

    def build(self, shape: Shape) -> nn.Module:
        """The identity, which has no parameters."""
        return nn.Identity()
