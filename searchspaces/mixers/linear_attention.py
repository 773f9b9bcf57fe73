"""Attention without softmax, linear in the number of positions."""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import Positive
from searchspaces.part import Shape


class LinearAttention(TokenMixer):
    """Kernelized self-attention between all positions (Katharopoulos et al., 2020, arXiv:2006.16236, eqs. 5 to 7).

    phi(q_i) sum_j phi(k_j) v_j^T / (phi(q_i) sum_j phi(k_j)) with phi(x) = elu(x) + 1: the sums over j are made once,
    so the cost is linear in the number of positions. The inner width is heads * head_width.
    """

    spatial_ranks: ClassVar[tuple[int, ...]] = (1, 2)
    heads: Positive = 4
    head_width: Positive = 16

    def build(self, shape: Shape) -> nn.Module:
        """The attention for shape[0] channels, at any size."""
        return LinearSelfAttention(shape[0], self.heads, self.head_width)


class LinearSelfAttention(nn.Module):
    """[b c h w] or [b c t] -> same shape; values weighted by the normalized kernel phi(q) phi(k), per head.

    `floor` keeps the normalizer above zero where phi underflows.
    """

    floor = 1e-6

    def __init__(self, channels: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(channels, heads * head_width)
        self.key = nn.Linear(channels, heads * head_width)
        self.value = nn.Linear(channels, heads * head_width)
        self.output = nn.Linear(heads * head_width, channels)

    def forward(self, x: Float[Tensor, "b c *positions"]) -> Float[Tensor, "b c *positions"]:
        """The attended values, projected back to the channels."""
        tokens = x.flatten(2).transpose(1, 2)
        query, key, value = (self._split(role(tokens)) for role in (self.query, self.key, self.value))
        query, key = F.elu(query) + 1, F.elu(key) + 1
        normalizer = query @ key.sum(2).unsqueeze(-1) + self.floor
        mixed = query @ (key.transpose(2, 3) @ value) / normalizer
        return self.output(mixed.transpose(1, 2).flatten(2)).transpose(1, 2).reshape(x.shape)

    def _split(self, tokens: Float[Tensor, "b t nd"]) -> Float[Tensor, "b n t d"]:
        """Heads apart; the head index is the slowest along the inner axis."""
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)
