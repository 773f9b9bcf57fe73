"""Depthwise convolution over time with normalized kernels, shared by the channels of a head."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._time_convolution import GatedMeans
from searchspaces.mixers._window import Odd, Positive
from searchspaces.part import Shape


class LightweightConvolution(TokenMixer):
    """LightConv: a softmax-normalized kernel per head (Wu et al., 2019, arXiv:1901.10430, section 3).

    y[c, t] = sum_k softmax(w[h(c)])_k v[c, t + k - (K - 1) / 2], or up to t if causal, with v = GLU(W x) before and a
    linear layer after it, as in the paper's module. The inner width is heads * head_width. DropConnect of the kernel is
    left to training.
    """

    spatial_ranks: ClassVar[tuple[int, ...]] = (1,)
    kernel: Odd = 7
    heads: Positive = 4
    head_width: Positive = 16
    causal: bool = Field(default=False, strict=True)

    def build(self, shape: Shape) -> nn.Module:
        """The operator for shape[0] channels, at any length."""
        return NormalizedConvolution(shape[0], self.kernel, self.heads, self.head_width, self.causal)


class NormalizedConvolution(GatedMeans):
    """[b c t] -> [b c t]; means over time with the same kernel at every step."""

    def __init__(self, channels: int, kernel: int, heads: int, head_width: int, causal: bool) -> None:
        super().__init__(channels, kernel, heads, head_width, causal)
        self.weight = nn.Parameter(torch.empty(heads, 1, kernel))
        nn.init.xavier_uniform_(self.weight)

    def means(self, values: Float[Tensor, "b t e"]) -> Float[Tensor, "b t e"]:
        """The convolution by each head's kernel."""
        kernels = self.weight.softmax(2).repeat_interleave(self.head_width, 0)
        padded = F.pad(values.transpose(1, 2), (self.before, self.after))
        return F.conv1d(padded, kernels, groups=len(kernels)).transpose(1, 2)
