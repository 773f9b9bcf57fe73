"""Attention to all positions: to those of the own region directly, to other regions through a summary."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import Positive
from searchspaces.part import Shape


class CombinerAttention(TokenMixer):
    """Combiner with its fixed pattern: full attention as a conditional expectation (Ren et al., 2021, section 4).

    arXiv:2107.05768. Regions are `region` positions in a row (equation 10). Positions of the own region are attended to
    directly; for j in another region r, p(j | i) = p(r | i) p(j | r) (equation 7), where i sees r as one more key, the
    maximum over the region's keys, and r sees its positions with the maximum over its queries (section 3.2; its
    alternative, DeepSets, is left out). Keys and regions are normalized together (equation 9). Every position is
    reached, at a cost of t (region + t / region). If `causal`, i sees the positions before it in its region and the
    regions before. An image is the sequence of its rows. The axial and logarithmic patterns are left out.
    """

    spatial_ranks: ClassVar[tuple[int, ...]] = (1, 2)
    heads: Positive = 4
    head_width: Positive = 16
    region: Positive = 8
    causal: bool = Field(default=False, strict=True)

    def build(self, shape: Shape) -> nn.Module:
        """The attention for shape[0] channels at this size."""
        positions = math.prod(shape[1:])
        return RegionAttention(
            shape[0], positions, self.heads, self.head_width, min(self.region, positions), self.causal
        )


class RegionAttention(nn.Module):
    """[b c h w] or [b c t] -> same shape; softmax over the keys of the own region and the keys of other regions.

    The last region is filled up with positions that no one sees.
    """

    direct: Tensor
    indirect: Tensor
    outside: Tensor

    def __init__(self, channels: int, positions: int, heads: int, head_width: int, region: int, causal: bool) -> None:
        super().__init__()
        self.positions, self.heads, self.region = positions, heads, region
        self.regions = -(-positions // region)
        self.query = nn.Linear(channels, heads * head_width)
        self.key = nn.Linear(channels, heads * head_width, bias=False)
        self.value = nn.Linear(channels, heads * head_width)
        self.output = nn.Linear(heads * head_width, channels)
        places = torch.arange(self.regions * region).view(self.regions, region)
        numbers, outside = torch.arange(self.regions), places >= positions
        later = places[:, None, :] > places[:, :, None] if causal else torch.zeros(1, 1, 1, dtype=torch.bool)
        others = numbers[:, None] <= numbers if causal else numbers[:, None] == numbers
        self.register_buffer("direct", outside[:, None, :] | later, persistent=False)
        self.register_buffer("indirect", others[:, None, :].expand(-1, region, -1), persistent=False)
        self.register_buffer("outside", outside[..., None], persistent=False)

    def forward(self, x: Float[Tensor, "b c *positions"]) -> Float[Tensor, "b c *positions"]:
        """The attended values, projected back to the channels."""
        tokens = F.pad(x.flatten(2), (0, self.regions * self.region - self.positions)).transpose(1, 2)
        query, key, value = (self._split(role(tokens)) for role in (self.query, self.key, self.value))
        query = query / math.sqrt(query.shape[-1])
        far_keys, far_values = self._summaries(query, key, value)
        near = (query @ key.transpose(-1, -2)).masked_fill(self.direct, -math.inf)
        far = (query @ far_keys.transpose(-1, -2)).masked_fill(self.indirect, -math.inf)
        weights = torch.cat([near, far], -1).softmax(-1)
        mixed = weights[..., : self.region] @ value + weights[..., self.region :] @ far_values
        joined = mixed.flatten(2, 3)[:, :, : self.positions].transpose(1, 2).flatten(2)
        return self.output(joined).transpose(1, 2).reshape(x.shape)

    def _split(self, tokens: Float[Tensor, "b t nd"]) -> Float[Tensor, "b n r s d"]:
        """Heads and regions apart; the head index is the slowest along the inner axis."""
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2).unflatten(2, (self.regions, self.region))

    def _summaries(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Key and expected value of each region, both [b n 1 r d]."""
        far_query, far_key = (role.masked_fill(self.outside, -math.inf).amax(3) for role in (query, key))
        scores = (key @ far_query.unsqueeze(-1)).masked_fill(self.outside, -math.inf)
        expected = (scores.softmax(3) * value).sum(3)
        return far_key.unsqueeze(2), expected.unsqueeze(2)
