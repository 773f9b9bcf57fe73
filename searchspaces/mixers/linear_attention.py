"""Attention without softmax, linear in the number of positions."""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import Positive
from searchspaces.part import Shape


class LinearAttention(TokenMixer):
    """Kernelized self-attention between all positions (Katharopoulos et al., 2020, arXiv:2006.16236, eqs. 5 to 7).

    phi(q_i) sum_j phi(k_j) v_j^T / (phi(q_i) sum_j phi(k_j)) with phi(x) = elu(x) + 1: the sums over j are made once,
    so the cost is linear in the number of positions. The inner width is heads * head_width. If `causal`, the sums are
    over j <= i (section 3.4), made chunk by chunk: what all chunks before say to a query, and its own chunk under a
    mask. An image is the sequence of its rows.
    """

    spatial_ranks: ClassVar[tuple[int, ...]] = (1, 2)
    heads: Positive = 4
    head_width: Positive = 16
    causal: bool = Field(default=False, strict=True)

    def build(self, shape: Shape) -> nn.Module:
        """The attention for shape[0] channels, at any size."""
        return LinearSelfAttention(shape[0], self.heads, self.head_width, self.causal)


class LinearSelfAttention(nn.Module):
    """[b c h w] or [b c t] -> same shape; values weighted by the normalized kernel phi(q) phi(k), per head.

    `floor` keeps the normalizer above zero where phi underflows; `chunk` positions are masked at once if `causal`.
    """

    floor, chunk = 1e-6, 32

    def __init__(self, channels: int, heads: int, head_width: int, causal: bool = False) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.query = nn.Linear(channels, heads * head_width)
        self.key = nn.Linear(channels, heads * head_width)
        self.value = nn.Linear(channels, heads * head_width)
        self.output = nn.Linear(heads * head_width, channels)

    def forward(self, x: Float[Tensor, "b c *positions"]) -> Float[Tensor, "b c *positions"]:
        """The attended values, projected back to the channels."""
        tokens = x.flatten(2).transpose(1, 2)
        query, key, value = (self._split(role(tokens)) for role in (self.query, self.key, self.value))
        mixed = (self._over_earlier if self.causal else self._over_all)(F.elu(query) + 1, F.elu(key) + 1, value)
        return self.output(mixed.transpose(1, 2).flatten(2)).transpose(1, 2).reshape(x.shape)

    def _over_all(
        self,
        query: Float[Tensor, "b n t d"],
        key: Float[Tensor, "b n t d"],
        value: Float[Tensor, "b n t d"],
    ) -> Float[Tensor, "b n t d"]:
        """The values of all positions, weighted; query and key are phi's."""
        normalizer = query @ key.sum(2).unsqueeze(-1) + self.floor
        return query @ (key.transpose(2, 3) @ value) / normalizer

    def _over_earlier(
        self,
        query: Float[Tensor, "b n t d"],
        key: Float[Tensor, "b n t d"],
        value: Float[Tensor, "b n t d"],
    ) -> Float[Tensor, "b n t d"]:
        """The values of the positions up to each, weighted; the normalizer is the sum for values that are one."""
        positions = query.shape[2]
        query, key, value = (self._chunked(role) for role in (query, key, F.pad(value, (0, 1), value=1.0)))
        inside = (query @ key.transpose(3, 4)).tril() @ value
        seen = (key.transpose(3, 4) @ value).cumsum(2)
        before = query @ F.pad(seen[:, :, :-1], (0, 0, 0, 0, 1, 0))
        sums = (inside + before).flatten(2, 3)[:, :, :positions]
        return sums[..., :-1] / (sums[..., -1:] + self.floor)

    def _chunked(self, role: Float[Tensor, "b n t d"]) -> Float[Tensor, "b n chunks s d"]:
        """Chunks apart; zeros fill the last one, which no position before them sees."""
        size = min(self.chunk, role.shape[2])
        return F.pad(role, (0, 0, 0, -role.shape[2] % size)).unflatten(2, (-1, size))

    def _split(self, tokens: Float[Tensor, "b t nd"]) -> Float[Tensor, "b n t d"]:
        """Heads apart; the head index is the slowest along the inner axis."""
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)
