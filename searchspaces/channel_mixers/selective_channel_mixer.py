"""MambaMixer's channel mixer: selective state spaces along the channels, both ways."""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.channel_mixers._role import ChannelMixer
from searchspaces.mixers._selective import SelectiveScans
from searchspaces.mixers._window import Odd, Positive
from searchspaces.part import Shape


class SelectiveChannelMixer(ChannelMixer):
    """Selective channel mixer of MambaMixer (Behrouz et al., 2024, arXiv:2403.19888, section 3).

    The token mixer on the transposed features: channels are the sequence, positions the features, and since channels
    have no order the scan goes both ways. The state moves from channel to channel at each position alone; the step
    (through a bottleneck of 1/16 of the positions), B and C of a channel depend on the whole of its map, so that the
    weights belong to a size, and a smaller image takes those of the leading positions. The paper's projections are
    linear maps over the transposed features, whose cost is quadratic in the positions; here value, gate and output are
    linear over channels instead.
    """

    state: Positive = 4
    kernel: Odd = 3

    def build(self, shape: Shape) -> nn.Module:
        """The mixer for shape[0] channels at exactly this size."""
        positions = math.prod(shape[1:])
        scans = SelectiveScans(positions, self.state, -(-positions // 16), 2)
        return ChannelScan(shape[0], positions, self.kernel, scans)


class ChannelScan(nn.Module):
    """[b c h w] -> [b c h w]; convolved and scanned along the channels, gated, projected."""

    def __init__(self, channels: int, positions: int, kernel: int, scans: nn.Module) -> None:
        super().__init__()
        self.value = nn.Conv2d(channels, channels, 1)
        self.convolution = nn.Conv1d(positions, positions, kernel, padding=kernel // 2, groups=positions)
        self.scans = scans
        self.gate = nn.Conv2d(channels, channels, 1)
        self.output = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Each position's features, mixed."""
        channels = self.value(x).flatten(2).transpose(1, 2)
        mixed = self.scans(F.silu(self.convolution(channels))).transpose(1, 2).reshape(x.shape)
        return self.output(mixed * F.silu(self.gate(x)))
