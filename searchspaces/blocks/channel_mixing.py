"""The second half of a MetaFormer block."""

from __future__ import annotations

from searchspaces.blocks._residual import Residual
from searchspaces.channel_mixers._role import ChannelMixer


class ChannelMixing(Residual):
    """A channel mixer in a pre-normalized residual branch."""

    mixer: ChannelMixer
