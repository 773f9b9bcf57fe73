"""The first half of a MetaFormer block."""

from __future__ import annotations

from searchspaces.blocks._residual import Residual
from searchspaces.mixers._role import TokenMixer


class TokenMixing(Residual):
    """A token mixer in a pre-normalized residual branch."""

    mixer: TokenMixer
