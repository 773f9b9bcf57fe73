"""Kernels that are a linear function of the features at their position."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class KernelProjection(nn.Module):
    """[*batch c] -> [*batch n k]; for each head one number per tap of the kernel, taps row by row.

    The weight is [n c *kernel], so that fewer heads are the leading ones and a smaller kernel is the centre.
    """

    bias: nn.Parameter | None

    def __init__(
        self, channels: int, heads: int, kernel: tuple[int, ...], zero: bool = False, bias: bool = True
    ) -> None:
        super().__init__()
        bound = 0.0 if zero else 1 / math.sqrt(channels)
        self.weight = nn.Parameter(torch.empty(heads, channels, *kernel).uniform_(-bound, bound))
        offset = nn.Parameter(torch.empty(heads, 1, *kernel).uniform_(-bound, bound)) if bias else None
        self.register_parameter("bias", offset)

    def forward(self, tokens: Float[Tensor, "*batch c"]) -> Float[Tensor, "*batch n k"]:
        """The kernels of all positions."""
        weight = self.weight.flatten(2).transpose(0, 1).flatten(1)
        kernels = tokens @ weight if self.bias is None else tokens @ weight + self.bias.flatten()
        return kernels.unflatten(-1, (self.weight.shape[0], -1))
