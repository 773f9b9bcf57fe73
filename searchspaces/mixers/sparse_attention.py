"""Softmax attention to near positions, to the first ones, and to every few blocks."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import Positive
from searchspaces.part import Shape

Count = Annotated[int, Field(ge=0, strict=True)]
"""A whole number from 0 on."""


class SparseAttention(TokenMixer):
    """The sparse patterns that LongGen mixes with full attention (Ge et al., 2024, arXiv:2410.01485, section 3).

    Position i sees j if they lie less than `window` apart (window attention), if j is one of the first `sinks`
    (attention sink), or if the numbers of their blocks of `block` positions differ by a multiple of `stride` (blockwise
    sparse attention; 0 for none): the paper's patterns are window with sinks, and blocks. If `causal`, only j <= i. The
    work is done on whole blocks, only on those that some position sees. An image is the sequence of its rows. Which
    third of the layers keeps full attention is the network's choice between this mixer and `attention`.
    """

    spatial_ranks: ClassVar[tuple[int, ...]] = (1, 2)
    heads: Positive = 4
    head_width: Positive = 16
    window: Positive = 16
    sinks: Count = 1
    block: Positive = 8
    stride: Count = 0
    causal: bool = Field(default=False, strict=True)

    def build(self, shape: Shape) -> nn.Module:
        """The attention for shape[0] channels at this size."""
        positions, reach = math.prod(shape[1:]), (self.window, self.sinks, self.stride)
        block = min(self.block, positions)
        return BlockSparseAttention(shape[0], positions, self.heads, self.head_width, block, reach, self.causal)


class BlockSparseAttention(nn.Module):
    """[b c h w] or [b c t] -> same shape; softmax(q k^T / sqrt(d)) v over the positions that each position sees.

    Each block of queries gathers the blocks of keys that any of them sees, as many for all blocks, and masks the rest.
    `reach` is window, sinks and stride.
    """

    gathered: Tensor
    mask: Tensor

    def __init__(
        self,
        channels: int,
        positions: int,
        heads: int,
        head_width: int,
        block: int,
        reach: tuple[int, int, int],
        causal: bool,
    ) -> None:
        super().__init__()
        self.positions, self.heads, self.block = positions, heads, block
        self.blocks = -(-positions // block)
        self.query = nn.Linear(channels, heads * head_width)
        self.key = nn.Linear(channels, heads * head_width, bias=False)
        self.value = nn.Linear(channels, heads * head_width)
        self.output = nn.Linear(heads * head_width, channels)
        gathered, mask = _layout(pattern(positions, block, reach, causal), block)
        device = torch.get_default_device()
        self.register_buffer("gathered", gathered.flatten().to(device), persistent=False)
        self.register_buffer("mask", mask.repeat(heads, 1, 1)[None].to(device), persistent=False)

    def forward(self, x: Float[Tensor, "b c *positions"]) -> Float[Tensor, "b c *positions"]:
        """The attended values, projected back to the channels."""
        tokens = F.pad(x.flatten(2), (0, self.blocks * self.block - self.positions)).transpose(1, 2)
        query = self._split(self.query(tokens)).flatten(1, 2)
        key, value = (self._gather(self._split(role(tokens))) for role in (self.key, self.value))
        mixed = F.scaled_dot_product_attention(query, key, value, self.mask)
        joined = mixed.unflatten(1, (self.heads, self.blocks)).flatten(2, 3)[:, :, : self.positions]
        return self.output(joined.transpose(1, 2).flatten(2)).transpose(1, 2).reshape(x.shape)

    def _split(self, tokens: Float[Tensor, "b t nd"]) -> Float[Tensor, "b n blocks s d"]:
        """Heads and blocks apart; the head index is the slowest along the inner axis."""
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2).unflatten(2, (self.blocks, self.block))

    def _gather(self, blocks: Float[Tensor, "b n blocks s d"]) -> Float[Tensor, "b nblocks seen d"]:
        """For each head and block of queries: the positions of the blocks that it sees."""
        return blocks.index_select(2, self.gathered).unflatten(2, (self.blocks, -1)).flatten(3, 4).flatten(1, 2)


def pattern(positions: int, block: int, reach: tuple[int, int, int], causal: bool) -> Bool[Tensor, "t t"]:
    """Which positions (columns) each position (row) sees, whatever the default device."""
    window, sinks, stride = reach
    place = torch.arange(positions, device="cpu")
    apart, blocks = place[:, None] - place, place // block
    seen = (apart.abs() < window) | (place < sinks)
    if stride:
        seen |= (blocks[:, None] - blocks) % stride == 0
    return seen & (apart >= 0) if causal else seen


def _layout(seen: Bool[Tensor, "t t"], block: int) -> tuple[Int[Tensor, "blocks m"], Bool[Tensor, "blocks s ms"]]:
    """The blocks that each block gathers, and which of their positions each of its positions sees.

    Positions that fill up the last block see all that it gathers, so that their softmax, which no one uses, is finite.
    """
    blocks = -(-len(seen) // block)
    margin = blocks * block - len(seen)
    cells = F.pad(seen, (0, margin, 0, margin)).view(blocks, block, blocks, block).transpose(1, 2)
    wanted = cells.any(3).any(2)
    gathered = wanted.int().argsort(dim=1, descending=True, stable=True)[:, : int(wanted.sum(1).max())]
    mask = torch.stack([cells[row, chosen] for row, chosen in enumerate(gathered)]).transpose(1, 2).flatten(2)
    mask[-1, block - margin :] = True
    return gathered, mask
