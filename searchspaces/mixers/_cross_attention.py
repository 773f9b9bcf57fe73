"""Multi-head softmax attention of one set of tokens to another."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F


class CrossAttention(nn.Module):
    """[b t c], [b s e] -> [b t c]; softmax(q k^T / sqrt(d)) v with keys and values from the second set, per head.

    Keys have no bias: it would add the same to all scores of a query, which the softmax takes away again.
    """

    def __init__(self, channels: int, context_channels: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(channels, heads * head_width)
        self.key = nn.Linear(context_channels, heads * head_width, bias=False)
        self.value = nn.Linear(context_channels, heads * head_width)
        self.output = nn.Linear(heads * head_width, channels)

    def forward(
        self,
        tokens: Float[Tensor, "b t c"],
        context: Float[Tensor, "b s e"],
        mask: Bool[Tensor, "_ 1 1 s"] | None = None,
    ) -> Float[Tensor, "b t c"]:
        """The attended values, projected to the first set's channels; the mask tells which tokens exist."""
        query, key, value = self._split(self.query(tokens)), self._split(self.key(context)), self.value(context)
        mixed = F.scaled_dot_product_attention(query, key, self._split(value), mask)
        return self.output(mixed.transpose(1, 2).flatten(2))

    def _split(self, tokens: Float[Tensor, "b t nd"]) -> Float[Tensor, "b n t d"]:
        """Heads apart; the head index is the slowest along the inner axis."""
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)
