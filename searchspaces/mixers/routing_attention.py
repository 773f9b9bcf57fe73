"""Softmax attention inside the few regions that each region is routed to."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers._depthwise import depthwise
from searchspaces.mixers._grid import Grid
from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import OddPair, Positive, PositivePair, pair
from searchspaces.part import Shape


class RoutingAttention(TokenMixer):
    """Bi-level routing attention (BiFormer: Zhu et al., 2023, arXiv:2303.08810, section 3.2).

    The image is a grid of `regions`. Queries and keys averaged over each region, Q^r and K^r, give the affinity
    A = Q^r (K^r)^T; each region keeps the `routed` regions of highest affinity, and its positions attend to all
    positions of those: O = Attention(Q, K^g, V^g) + LCE(V), then an output projection. LCE is a depthwise convolution
    of the values with the given `kernel`. Routing has no gradient, and is shared by the heads, as published. Sizes that
    are no multiple of the grid make the last regions smaller: padded positions count in no average and are masked.
    The inner width is heads * head_width. BiFormer's depthwise convolution before each block is not part of this.
    """

    heads: Positive = 4
    head_width: Positive = 16
    regions: PositivePair = 7
    routed: Positive = 4
    kernel: OddPair = 5

    def build(self, shape: Shape) -> nn.Module:
        """The attention for shape[0] channels at this size; never more regions than positions."""
        asked = pair(self.regions)
        window = (-(-shape[1] // asked[0]), -(-shape[2] // asked[1]))
        return BiLevelRoutingAttention(
            shape[0], (shape[1], shape[2]), self.heads, self.head_width, window, self.routed, pair(self.kernel)
        )


class BiLevelRoutingAttention(nn.Module):
    """[b c h w] -> [b c h w]; each window attends to the windows that are nearest to it on average.

    Keys have no bias: it would add the same to all scores of a query, at both levels.
    """

    counts: Tensor
    inside: Tensor | None

    def __init__(
        self,
        channels: int,
        size: tuple[int, int],
        heads: int,
        head_width: int,
        window: tuple[int, int],
        routed: int,
        kernel: tuple[int, int],
    ) -> None:
        super().__init__()
        inner = heads * head_width
        self.heads, self.grid = heads, Grid(size, window)
        self.routed = min(routed, self.grid.cells[0] * self.grid.cells[1])
        self.query = nn.Linear(channels, inner)
        self.key = nn.Linear(channels, inner, bias=False)
        self.value = nn.Linear(channels, inner)
        self.local = depthwise(inner, kernel)
        self.output = nn.Linear(inner, channels)
        inside = self.grid.inside()
        fits = size[0] % window[0] == 0 and size[1] % window[1] == 0
        self.register_buffer("counts", inside.sum(1, keepdim=True).to(self.query.weight.dtype), persistent=False)
        self.register_buffer("inside", None if fits else inside, persistent=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Attended values and their local context, projected back to the channels."""
        tokens = x.permute(0, 2, 3, 1)
        values = self.value(tokens)
        query, key, value = (self.grid.split(role) for role in (self.query(tokens), self.key(tokens), values))
        mixed = self.grid.join(self._attend(query, key, value, self._routes(query, key)))
        local = self.local(values.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return self.output(mixed + local).permute(0, 3, 1, 2)

    @torch.no_grad()
    def _routes(self, query: Float[Tensor, "b r t c"], key: Float[Tensor, "b r t c"]) -> Int[Tensor, "b r k"]:
        """The regions of highest affinity for each region."""
        query_mean, key_mean = query.sum(2) / self.counts, key.sum(2) / self.counts
        return (query_mean @ key_mean.transpose(1, 2)).topk(self.routed).indices

    def _attend(
        self,
        query: Float[Tensor, "b r t c"],
        key: Float[Tensor, "b r t c"],
        value: Float[Tensor, "b r t c"],
        routes: Int[Tensor, "b r k"],
    ) -> Float[Tensor, "b r t c"]:
        """Dense attention of each region's positions to those of its routed regions, per head."""
        batch, regions = routes.shape[:2]
        rows = (routes + regions * torch.arange(batch, device=routes.device)[:, None, None]).flatten(0, 1)
        keys, values = (self._split(role.flatten(0, 1)[rows].flatten(1, 2)) for role in (key, value))
        mixed = F.scaled_dot_product_attention(self._split(query.flatten(0, 1)), keys, values, self._mask(routes))
        return mixed.transpose(1, 2).reshape(query.shape)

    def _mask(self, routes: Int[Tensor, "b r k"]) -> Bool[Tensor, "br 1 1 kt"] | None:
        """Which of the gathered positions lie inside the image; None if all do."""
        return None if self.inside is None else self.inside[routes.flatten(0, 1)].flatten(1)[:, None, None]

    def _split(self, tokens: Float[Tensor, "br t nd"]) -> Float[Tensor, "br n t d"]:
        """Heads apart; the head index is the slowest along the inner axis."""
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)
