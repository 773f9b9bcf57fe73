"""Convolution over time whose kernel is predicted from the current step."""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers._gated_linear import GatedLinear
from searchspaces.mixers._kernel_projection import KernelProjection
from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import Odd, Positive
from searchspaces.part import Shape


class DynamicConvolution(TokenMixer):
    """DynamicConv: the kernel of each head is linear in the current step (Wu et al., 2019, arXiv:1901.10430).

    Section 4: y[c, t] = sum_k softmax(W_h v[t])_k v[c, t + k - (K - 1) / 2], or up to t if causal, with v = GLU(W x)
    before and a linear layer after it, as in the paper's module. Linear in the length. The inner width is
    heads * head_width.
    """

    spatial_ranks: ClassVar[tuple[int, ...]] = (1,)
    kernel: Odd = 7
    heads: Positive = 4
    head_width: Positive = 16
    causal: bool = Field(default=False, strict=True)

    def build(self, shape: Shape) -> nn.Module:
        """The operator for shape[0] channels, at any length."""
        return PredictedConvolution(shape[0], self.kernel, self.heads, self.head_width, self.causal)


class PredictedConvolution(nn.Module):
    """[b c t] -> [b c t]; means over each step's neighbours, weighted by a kernel of its own, zeros outside."""

    def __init__(self, channels: int, kernel: int, heads: int, head_width: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.kernel = heads, kernel
        self.before = kernel - 1 if causal else kernel // 2
        self.input = GatedLinear(channels, heads * head_width)
        self.kernels = KernelProjection(heads * head_width, heads, (kernel,), bias=False)
        self.output = nn.Linear(heads * head_width, channels)

    def forward(self, x: Float[Tensor, "b c t"]) -> Float[Tensor, "b c t"]:
        """The convolved and projected features."""
        values = self.input(x.transpose(1, 2))
        weights = self.kernels(values).softmax(3)
        padded = F.pad(values, (0, 0, self.before, self.kernel - 1 - self.before))
        near = padded.unfold(1, self.kernel, 1).unflatten(2, (self.heads, -1))
        mixed = (near @ weights[..., None]).flatten(2)
        return self.output(mixed).transpose(1, 2)
