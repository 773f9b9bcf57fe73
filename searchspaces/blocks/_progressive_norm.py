"""Layer normalization that becomes batch normalization while it is trained."""

from __future__ import annotations

import copy

import torch
from jaxtyping import Float
from torch import Tensor, nn


class ProgressiveNorm(nn.Module):
    """Progressive re-parameterized batch normalization (SLAB: Guo et al., 2024, arXiv:2405.11582, section 3.2).

    PRepBN(x) = s LN(x) + (1 - s) RepBN(x), RepBN(x) = BN(x) + eta x with a learned eta. Training lowers the share s
    linearly from 1 to 0; in evaluation mode it is RepBN whatever the share, as in the authors' code, so that nothing is
    left whose statistics deployment would have to compute, and `fuse` gives a plain batch normalization. Layer
    normalization is over channels and positions, as everywhere in MetaFormer blocks.
    """

    layer_share: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("layer_share", torch.zeros(()), persistent=False)
        self.layer = nn.GroupNorm(1, channels)
        self.batch = nn.BatchNorm2d(channels)
        self.eta = nn.Parameter(torch.ones(1))

    def progress(self, fraction: float) -> None:
        """Sets the share for a training of which this fraction is done; a new module is as at the end."""
        self.layer_share.fill_(1 - fraction)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The normalized features; batch statistics are collected at every share."""
        batch = self.batch(x) + self.eta * x
        return torch.lerp(batch, self.layer(x), self.layer_share) if self.training else batch

    @torch.no_grad()
    def fuse(self) -> nn.Module:
        """The same function in evaluation mode: eta x is a larger factor and a mean that is given back."""
        fused = copy.deepcopy(self.batch).eval()
        assert fused.running_mean is not None and fused.running_var is not None
        fused.weight.add_(self.eta * (fused.running_var + fused.eps).sqrt())
        fused.bias.add_(self.eta * fused.running_mean)
        return fused
