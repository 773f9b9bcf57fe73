"""Convolution over time whose kernel is predicted from the current step."""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers._kernel_projection import KernelProjection
from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._time_convolution import GatedMeans
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


class PredictedConvolution(GatedMeans):
    """[b c t] -> [b c t]; means over each step's neighbours, weighted by a kernel of its own."""

    def __init__(self, channels: int, kernel: int, heads: int, head_width: int, causal: bool) -> None:
        super().__init__(channels, kernel, heads, head_width, causal)
        self.kernels = KernelProjection(heads * head_width, heads, (kernel,), bias=False)

    def means(self, values: Float[Tensor, "b t e"]) -> Float[Tensor, "b t e"]:
        """The neighbours of each step, weighted by the softmax of its kernel."""
        weights = self.kernels(values).softmax(3)
        near = F.pad(values, (0, 0, self.before, self.after)).unfold(1, weights.shape[3], 1)
        return (near.unflatten(2, (self.heads, -1)) @ weights[..., None]).flatten(2)
