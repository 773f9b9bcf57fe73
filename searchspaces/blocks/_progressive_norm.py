"""Layer normalization that becomes batch normalization while it is trained."""

from __future__ import annotations

import copy

import torch
from jaxtyping import Float
from torch import Tensor, nn


class ProgressiveNorm(nn.Module):
    """Progressive re-parameterized batch normalization (SLAB: Guo et al., 2024, arXiv:2405.11582).

    PRepBN(x) = gamma LN(x) + (1 - gamma) RepBN(x), RepBN(x) = BN(x) + eta x with a learned eta. `layer_share` is gamma:
    whoever trains lowers it from 1 to 0, linearly in the paper. At 0 nothing of the layer normalization is left, whose
    statistics deployment would have to compute, and `fuse` gives a plain batch normalization, which merges into the
    layer beside it. Layer normalization is over channels and positions, as everywhere in MetaFormer blocks.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layer_share = 1.0
        self.layer = nn.GroupNorm(1, channels)
        self.batch = nn.BatchNorm2d(channels)
        self.eta = nn.Parameter(torch.ones(1))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The normalized features; batch statistics are collected at every share."""
        batch = self.batch(x) + self.eta * x
        if self.layer_share == 0:
            return batch
        return self.layer_share * self.layer(x) + (1 - self.layer_share) * batch

    @torch.no_grad()
    def fuse(self) -> nn.BatchNorm2d:
        """The same function in evaluation mode: eta x is a larger factor and a mean that is given back.

        Raises:
            ValueError: `layer_share` is not 0, so that layer normalization is still a part of it.
        """
        if self.layer_share != 0:
            raise ValueError(f"layer_share is {self.layer_share}, and must reach 0 before normalizations can be merged")
        fused = copy.deepcopy(self.batch).eval()
        assert fused.running_mean is not None and fused.running_var is not None
        fused.weight.add_(self.eta * (fused.running_var + fused.eps).sqrt())
        fused.bias.add_(self.eta * fused.running_mean)
        return fused
