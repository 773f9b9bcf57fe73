"""Convolution whose kernel, as long as the sequence, is learned weight by weight."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers._global_convolution import GlobalConvolution
from searchspaces.mixers._role import TokenMixer
from searchspaces.part import Shape


class LongConvolution(TokenMixer):
    """LongConv: a free kernel of the sequence's length, squashed (Fu et al., 2023, arXiv:2302.06646).

    `threshold` is the squash operator's lambda. The convolution is FlashButterfly's decomposition into matrix products
    without its learned coefficients and its memory hierarchy. An image is the sequence of its rows; if
    not `causal`, a second kernel looks at later positions. A shorter sequence takes the shorter lags.
    """

    spatial_ranks: ClassVar[tuple[int, ...]] = (1, 2)
    threshold: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.001
    causal: bool = Field(default=False, strict=True)

    def build(self, shape: Shape) -> nn.Module:
        """The convolution for shape[0] channels at exactly this size."""
        channels, positions = shape[0], math.prod(shape[1:])
        past, future = (SquashedKernel(channels, positions, self.threshold) for _ in range(2))
        return GlobalConvolution(channels, positions, past, None if self.causal else future)


class SquashedKernel(nn.Module):
    """-> [c t]; sign(k) max(|k| - threshold, 0): small weights are zero, which keeps the kernel sparse in time.

    Weights start as noise that decays with the lag, faster in later channels: the paper's exponential initialization.
    """

    def __init__(self, channels: int, positions: int, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold
        lags, channel = torch.arange(positions) / positions, torch.arange(channels)[:, None] / channels
        envelope = torch.exp(-lags * (channels / 2) ** channel)
        self.weight = nn.Parameter(0.02 * torch.randn(channels, positions) * envelope)

    def forward(self) -> Float[Tensor, "c t"]:
        """The kernel."""
        return F.relu(self.weight.abs() - self.threshold) * self.weight.sign()
