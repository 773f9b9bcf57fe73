"""Kernels made from the features at each position, shared by the channels of a group."""

from __future__ import annotations

import itertools

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers._kernel_projection import KernelProjection
from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import OddPair, Positive, PositivePair, pair
from searchspaces.part import Shape


class Involution(TokenMixer):
    """Involution: spatial-specific, channel-agnostic kernels (Li et al., 2021, arXiv:2103.06255, section 3).

    H(p) = W_1 relu(BN(W_0 x(p))) is one kernel per group, y[c, p] = sum_k H[g(c), p, k] x[c, p + k]. Channel c belongs
    to group floor(c / group_width), so a channel keeps its group at every width; the last group may be narrower.
    `reduction` is the channel count over the width between W_0 and W_1.
    """

    kernel: OddPair = 7
    dilation: PositivePair = 1
    group_width: Positive = 16
    reduction: Positive = 4

    def build(self, shape: Shape) -> nn.Module:
        """The operator for shape[0] channels, at any size."""
        hidden = max(1, shape[0] // self.reduction)
        return InvolutionKernels(shape[0], hidden, pair(self.kernel), pair(self.dilation), self.group_width)


class InvolutionKernels(nn.Module):
    """[b c h w] -> [b c h w]; each neighbourhood weighted by the kernel of its centre, zeros outside."""

    def __init__(
        self, channels: int, hidden: int, kernel: tuple[int, int], dilation: tuple[int, int], group_width: int
    ) -> None:
        super().__init__()
        self.kernel, self.dilation, self.width = kernel, dilation, min(group_width, channels)
        self.missing = -channels % self.width
        self.reduce = nn.Conv2d(channels, hidden, 1)
        self.norm = nn.BatchNorm2d(hidden)
        self.span = KernelProjection(hidden, -(-channels // self.width), kernel)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The weighted neighbourhoods."""
        channels, (height, width) = x.shape[1], x.shape[2:]
        hidden = F.relu(self.norm(self.reduce(x)))
        kernels = self.span(hidden.flatten(2).transpose(1, 2)).permute(0, 2, 3, 1).unflatten(3, (height, width))
        down, right = (step * (size // 2) for step, size in zip(self.dilation, self.kernel, strict=True))
        padded = F.pad(x, (right, right, down, down, 0, self.missing)).unflatten(1, (kernels.shape[1], self.width))
        mixed = torch.zeros(())
        for tap, (row, column) in enumerate(itertools.product(*map(range, self.kernel))):
            above, left = row * self.dilation[0], column * self.dilation[1]
            near = padded[..., above : above + height, left : left + width]
            mixed = mixed + near * kernels[:, :, None, tap]
        return mixed.flatten(1, 2)[:, :channels]
