"""A wide linear block that is one narrow convolution."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.generated_convolution import GeneratedConvolution
from searchspaces.mixers._fusion import convolution_of
from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import OddPair, Positive, pair
from searchspaces.part import Shape


class CollapsibleBlock(TokenMixer):
    """Collapsible linear block (SESR: Bhardwaj et al., 2022, arXiv:2103.09404, section 3).

    A k x k convolution to `hidden` channels and a pointwise one back, nothing between, beside an identity: all linear,
    so W = W_2 W_1 + I is one k x k convolution. As in the paper's efficient training, W is collapsed in the forward
    pass already: training costs one narrow convolution too, and only its optimization differs. `fuse` gives that
    convolution. The activation after the block belongs to the network.
    """

    kernel: OddPair = 3
    hidden: Positive = 64

    def build(self, shape: Shape) -> nn.Module:
        """The block for shape[0] channels, at any size."""
        return CollapsedConvolution(shape[0], self.hidden, pair(self.kernel))


class CollapsedConvolution(nn.Module):
    """[b c h w] -> [b c h w]; x + W_2 (W_1 * x) + b, zeros outside, as one convolution."""

    def __init__(self, channels: int, hidden: int, kernel: tuple[int, int]) -> None:
        super().__init__()
        self.padding = (kernel[0] // 2, kernel[1] // 2)
        self.expand = nn.Parameter(torch.empty(hidden, channels, *kernel))
        self.project = nn.Parameter(torch.empty(channels, hidden))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.convolution = GeneratedConvolution()
        nn.init.kaiming_uniform_(self.expand, math.sqrt(5))
        nn.init.kaiming_uniform_(self.project, math.sqrt(5))

    def collapsed(self) -> Float[Tensor, "c c k l"]:
        """The kernel of the whole block."""
        weight = (self.project @ self.expand.flatten(1)).view(-1, *self.expand.shape[1:])
        identity = torch.eye(len(weight), dtype=weight.dtype, device=weight.device)[:, :, None, None]
        down, right = self.padding
        return weight + F.pad(identity, (right, right, down, down))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The features and their convolution."""
        return self.convolution(x, self.collapsed(), self.bias)

    def fuse(self) -> nn.Module:
        """The same function as one convolution."""
        return convolution_of(self.collapsed(), self.bias)
