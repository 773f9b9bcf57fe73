"""The half of a MetaFormer block: a mixer in a pre-normalized residual branch."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from searchspaces.blocks._role import Block
from searchspaces.channel_mixers._role import ChannelMixer
from searchspaces.gates._role import Gate
from searchspaces.gates.none import NoGate
from searchspaces.mixers._role import TokenMixer
from searchspaces.part import Shape

Norm = Literal["batch", "layer"]


class Residual(Block):
    """x + gate(mixer(norm(x))), MetaFormer equations 2 and 3 (arXiv:2111.11418)."""

    mixer: TokenMixer | ChannelMixer
    gate: Gate = NoGate()
    norm: Norm = "batch"
    """`layer` normalizes over channels and positions, as PoolFormer does."""

    def build(self, shape: Shape) -> nn.Module:
        """The branch and its shortcut for [b c h w] features."""
        norm = nn.BatchNorm2d(shape[0]) if self.norm == "batch" else nn.GroupNorm(1, shape[0])
        return ResidualBranch(norm, self.mixer.build(shape), self.gate.build(shape))


class ResidualBranch(nn.Module):
    """x + gate(mixer(norm(x)))."""

    def __init__(self, norm: nn.Module, mixer: nn.Module, gate: nn.Module) -> None:
        super().__init__()
        self.norm, self.mixer, self.gate = norm, mixer, gate

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The same shape."""
        return x + self.gate(self.mixer(self.norm(x)))
