"""Softmax attention to the nearest positions, at steps of a dilation."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import OddPair, Positive, PositivePair, pair
from searchspaces.part import Shape


class DilatedNeighborhoodAttention(TokenMixer):
    """Neighborhood attention with dilation (DiNAT: Hassani and Shi, 2022, arXiv:2209.15001).

    Along each axis a position sees the `window` nearest ones whose distance is a multiple of `dilation`, itself among
    them: A = softmax(Q K^T / sqrt(d) + B) V over those, B a learned bias per head and relative place. At the border
    the window is not cut but moved inwards, so each position has a full one. Dilation 1 is NAT (arXiv:2204.07143), and
    is the neighborhood attention of TCSR (arXiv:2303.14324). On an image that is smaller than window * dilation the
    dilation is reduced to what fits, then the window. The inner width is heads * head_width.
    """

    heads: Positive = 4
    head_width: Positive = 16
    window: OddPair = 7
    dilation: PositivePair = 1

    def build(self, shape: Shape) -> nn.Module:
        """The attention for shape[0] channels at this size."""
        size, asked, steps = (shape[1], shape[2]), pair(self.window), pair(self.dilation)
        window = (min(asked[0], size[0]), min(asked[1], size[1]))
        dilation = (min(steps[0], size[0] // window[0]), min(steps[1], size[1] // window[1]))
        return NeighborhoodAttention(shape[0], size, self.heads, self.head_width, window, dilation)


class NeighborhoodAttention(nn.Module):
    """[b c h w] -> [b c h w]; softmax(q k^T / sqrt(d) + bias) v over each position's neighbors, per head.

    Positions of one dilated group are taken in tiles, whose neighborhoods overlap: a tile attends to their union in one
    product of matrices, and the positions that are a neighbor of others only are masked. `bias` has a place for every
    relative place along both axes; a smaller window's are the centre of a larger one's. Keys have no bias: it would add
    the same to all scores of a query, which the softmax takes away again.
    """

    def __init__(
        self,
        channels: int,
        size: tuple[int, int],
        heads: int,
        head_width: int,
        window: tuple[int, int],
        dilation: tuple[int, int],
    ) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(channels, heads * head_width)
        self.key = nn.Linear(channels, heads * head_width, bias=False)
        self.value = nn.Linear(channels, heads * head_width)
        self.bias = nn.Parameter(0.02 * torch.randn(heads, 1, 2 * window[0] - 1, 2 * window[1] - 1))
        self.output = nn.Linear(heads * head_width, channels)
        self.rows = Neighborhoods(size[0], window[0], dilation[0])
        self.columns = Neighborhoods(size[1], window[1], dilation[1])

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The attended values, projected back to the channels."""
        tokens, rows, columns = x.permute(0, 2, 3, 1), self.rows, self.columns
        query = self._gather(self.query(tokens), rows.members, columns.members)
        key, value = (self._gather(role(tokens), rows.near, columns.near) for role in (self.key, self.value))
        mixed = F.scaled_dot_product_attention(query, key, value, self._biases())
        tiles = mixed.unflatten(2, (rows.members.shape[1], -1)).unflatten(1, (len(rows.near), -1, self.heads))
        image = tiles.permute(0, 1, 4, 2, 5, 3, 6).flatten(5, 6).flatten(3, 4).flatten(1, 2)
        return self.output(image[:, rows.place][:, :, columns.place]).permute(0, 3, 1, 2)

    def _gather(
        self, tokens: Float[Tensor, "b h w nd"], rows: Int[Tensor, "a s"], columns: Int[Tensor, "e r"]
    ) -> Float[Tensor, "b aen sr d"]:
        """The tokens of each tile and head."""
        tiles = tokens[:, rows][:, :, :, columns].unflatten(5, (self.heads, -1))
        return tiles.permute(0, 1, 3, 5, 2, 4, 6).flatten(4, 5).flatten(1, 3)

    def _biases(self) -> Float[Tensor, "aen t s"]:
        """The bias of each tile, head, member and neighbor, minus infinity for neighbors of others."""
        rows, columns = self.rows, self.columns
        near = self.bias[:, 0, rows.relative][..., columns.relative] + rows.mask[..., None, None, None] + columns.mask
        return near.permute(1, 4, 0, 2, 5, 3, 6).flatten(5, 6).flatten(3, 4).flatten(0, 2)


class Neighborhoods(nn.Module):
    """Index tables of the windows along one axis: tiles of positions at multiples of the dilation from each other.

    A tile is half as wide as the window; groups that are no multiple of it repeat their last position. By tile:
    `members`, the positions of their `near` union, its `relative` place to each member and a `mask` of 0 and minus
    infinity; by position, its `place` among all members.
    """

    members: Tensor
    near: Tensor
    relative: Tensor
    mask: Tensor
    place: Tensor

    def __init__(self, size: int, window: int, dilation: int) -> None:
        super().__init__()
        tile = (window + 1) // 2
        tiles = -(-size // (dilation * tile))
        group = torch.arange(dilation)[:, None, None]
        last = (size - 1 - group) // dilation
        step = torch.minimum(torch.arange(tiles * tile).view(1, tiles, tile), last)
        start = torch.minimum((step - window // 2).clamp(min=0), last + 1 - window)
        union = start[..., :1] + torch.arange(tile + window - 1)
        beyond = union[..., None, :] - start[..., None]
        mask = torch.zeros(beyond.shape).masked_fill((beyond < 0) | (beyond >= window), -torch.inf)
        relative = (union[..., None, :] - step[..., None] + window - 1).clamp(0, 2 * window - 2)
        place = torch.arange(size)
        tables = {
            "members": group + dilation * step,
            "near": group + dilation * torch.minimum(union, last),
            "relative": relative,
            "mask": mask,
        }
        for name, table in tables.items():
            self.register_buffer(name, table.flatten(0, 1), persistent=False)
        self.register_buffer("place", place % dilation * tiles * tile + place // dilation, persistent=False)
