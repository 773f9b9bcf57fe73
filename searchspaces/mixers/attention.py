"""Multi-head softmax attention over all positions."""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import Positive
from searchspaces.part import Shape


class Attention(TokenMixer):
    """Multi-head softmax self-attention between all positions (Vaswani et al., 2017, arXiv:1706.03762, eq. 1).

    The inner width is heads * head_width, whatever the channel count: fewer heads are the leading ones of more.
    If `causal`, a position sees those up to its own, as in the decoder (section 3.2.3); an image is the sequence of its
    rows. Quadratic in the number of positions.
    """

    spatial_ranks: ClassVar[tuple[int, ...]] = (1, 2)
    heads: Positive = 4
    head_width: Positive = 16
    causal: bool = Field(default=False, strict=True)

    def build(self, shape: Shape) -> nn.Module:
        """The attention for shape[0] channels, at any size."""
        return SelfAttention(shape[0], self.heads, self.head_width, self.causal)


class SelfAttention(nn.Module):
    """[b c h w] or [b c t] -> same shape; softmax(q k^T / sqrt(d)) v over all positions or those before, per head.

    Keys have no bias: it would add the same to all scores of a query, which the softmax takes away again.
    """

    sortable = {"query": 0, "key": 0, "value": 0, "output": 1}

    def __init__(self, channels: int, heads: int, head_width: int, causal: bool = False) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.groups = heads
        self.query = nn.Linear(channels, heads * head_width)
        self.key = nn.Linear(channels, heads * head_width, bias=False)
        self.value = nn.Linear(channels, heads * head_width)
        self.output = nn.Linear(heads * head_width, channels)

    def forward(self, x: Float[Tensor, "b c *positions"]) -> Float[Tensor, "b c *positions"]:
        """The attended values, projected back to the channels."""
        tokens = x.flatten(2).transpose(1, 2)
        query, key, value = (self._split(role(tokens)) for role in (self.query, self.key, self.value))
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        return self.output(mixed.transpose(1, 2).flatten(2)).transpose(1, 2).reshape(x.shape)

    def _split(self, tokens: Float[Tensor, "b t nd"]) -> Float[Tensor, "b n t d"]:
        """Heads apart; the head index is the slowest along the inner axis."""
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)
