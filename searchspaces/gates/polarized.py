"""Attention over channels and over positions, each at full resolution in its own dimension."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from searchspaces.gates._role import Gate
from searchspaces.part import Shape

Layout = Literal["parallel", "sequential"]


class Polarized(Gate):
    """Polarized self-attention (PSA: Liu et al., 2021, arXiv:2107.00782, section 3).

    Channel branch: A_c = sigmoid(LN(W_z (W_v X softmax(W_q X)))), with W_q X one map, whose softmax is over the
    positions; W_v leaves half of the channels. Spatial branch: A_s = sigmoid(softmax(mean(W_q X)) W_v X), both on half
    of the channels, the softmax over them. `parallel` is A_c X + A_s X, `sequential` A_s (A_c X). Projections have no
    biases, as in the authors' code (that of the channel branch's query would cancel); what the same code adds, another
    reduction inside W_z, is not in the equations and left out.
    """

    layout: Layout = "parallel"

    def build(self, shape: Shape) -> nn.Module:
        """The gate for shape[0] channels, at any size."""
        channels, half = shape[0], max(1, shape[0] // 2)
        return PolarizedGate(ChannelFilter(channels, half), SpatialFilter(channels, half), self.layout == "parallel")


class PolarizedGate(nn.Module):
    """[b c h w] -> [b c h w]; scaled by a factor per channel and by a factor per position."""

    def __init__(self, channel: nn.Module, spatial: nn.Module, parallel: bool) -> None:
        super().__init__()
        self.channel, self.spatial, self.parallel = channel, spatial, parallel

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The sum of both (parallel), or one after the other (sequential)."""
        scaled = self.channel(x) * x
        return scaled + self.spatial(x) * x if self.parallel else self.spatial(scaled) * scaled


class ChannelFilter(nn.Module):
    """[b c h w] -> [b c 1 1]; the positions collapse into one weighted mean."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, 1, 1, bias=False)
        self.value = nn.Conv2d(channels, inner, 1, bias=False)
        self.output = nn.Linear(inner, channels, bias=False)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c 1 1"]:
        """One factor between 0 and 1 for each channel."""
        weights = self.query(x).flatten(2).softmax(2)
        context = (self.value(x).flatten(2) @ weights.transpose(1, 2))[..., 0]
        return self.norm(self.output(context)).sigmoid()[..., None, None]


class SpatialFilter(nn.Module):
    """[b c h w] -> [b 1 h w]; the channels collapse into one weighted sum."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, inner, 1, bias=False)
        self.value = nn.Conv2d(channels, inner, 1, bias=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 h w"]:
        """One factor between 0 and 1 for each position."""
        weights = self.query(x).mean((2, 3)).softmax(1)
        attention = weights[:, None] @ self.value(x).flatten(2)
        return attention.sigmoid().unflatten(2, x.shape[2:])
