"""The half of a MetaFormer block: a mixer in a pre-normalized residual branch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from searchspaces.blocks._progressive_norm import ProgressiveNorm
from searchspaces.blocks._role import Block
from searchspaces.blocks._shortcut import AugmentedShortcut
from searchspaces.channel_mixers._role import ChannelMixer
from searchspaces.gates._role import Gate
from searchspaces.gates.none import NoGate
from searchspaces.mixers._role import TokenMixer
from searchspaces.part import Shape

Norm = Literal["batch", "layer", "token", "progressive"]

Shortcut = Literal["identity", "augmented"]

NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "layer": lambda channels: nn.GroupNorm(1, channels),
    "token": lambda channels: TokenNorm(channels),
    "progressive": ProgressiveNorm,
}


class Residual(Block):
    """x + gate(mixer(norm(x))), MetaFormer equations 2 and 3 (arXiv:2111.11418)."""

    mixer: TokenMixer | ChannelMixer
    gate: Gate = NoGate()
    norm: Norm = "batch"
    """`layer` normalizes over channels and positions, as PoolFormer does, `token` over the channels of a position;
    `progressive` turns from `layer` into `batch` while it is trained (see `ProgressiveNorm`)."""
    shortcut: Shortcut = "identity"
    """`augmented` adds a bottleneck beside the identity (see `AugmentedShortcut`)."""

    def build(self, shape: Shape) -> nn.Module:
        """The branch and its shortcut for [b c h w] features."""
        shortcut = nn.Identity() if self.shortcut == "identity" else AugmentedShortcut(shape[0])
        return ResidualBranch(NORMS[self.norm](shape[0]), self.mixer.build(shape), self.gate.build(shape), shortcut)


class TokenNorm(nn.LayerNorm):
    """Layer normalization over the channels of [b c h w], at each position by itself (arXiv:1607.06450)."""

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Each position with mean 0 and variance 1 over its channels, then scaled and shifted per channel."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ResidualBranch(nn.Module):
    """shortcut(x) + gate(mixer(norm(x)))."""

    def __init__(self, norm: nn.Module, mixer: nn.Module, gate: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.norm, self.mixer, self.gate, self.shortcut = norm, mixer, gate, shortcut

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The same shape."""
        return self.shortcut(x) + self.gate(self.mixer(self.norm(x)))
