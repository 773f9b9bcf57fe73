"""What is around the means of convolutions over time with normalized kernels."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from searchspaces.mixers._gated_linear import GatedLinear


class GatedMeans(nn.Module):
    """[b c t] -> [b c t]; a gated linear unit, weighted means over time, zeros outside, and a linear layer."""

    def __init__(self, channels: int, kernel: int, heads: int, head_width: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.head_width = heads, head_width
        self.before = kernel - 1 if causal else kernel // 2
        self.after = kernel - 1 - self.before
        self.input = GatedLinear(channels, heads * head_width)
        self.output = nn.Linear(heads * head_width, channels)

    def forward(self, x: Float[Tensor, "b c t"]) -> Float[Tensor, "b c t"]:
        """The convolved and projected features."""
        return self.output(self.means(self.input(x.transpose(1, 2)))).transpose(1, 2)

    def means(self, values: Float[Tensor, "b t e"]) -> Float[Tensor, "b t e"]:
        """The values of each step's neighbours, weighted."""
        raise NotImplementedError
