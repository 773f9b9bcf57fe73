"""Channel weights from the features at a coarser resolution, then from their mean."""

from __future__ import annotations

from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.gates._role import Gate
from searchspaces.gates.squeeze_excitation import ChannelGate
from searchspaces.mixers._window import Positive
from searchspaces.part import Shape


class ConditionalChannelWeighting(Gate):
    """What Lite-HRNet has in place of 1x1 convolutions (Yu et al., 2021, arXiv:2104.06403, section 3.2).

    First the cross-resolution weights: all s branches pooled to the smallest one's size, concatenated, conv, relu,
    conv, sigmoid, and each branch times its own channels' weights, enlarged by nearest neighbours. Then, behind a
    depthwise convolution that is left to the token mixer, the spatial weights: a squeeze and excitation of each branch.

    In a chain there is one branch. With the others as poolings of its own features (branch k by 2^(k-1)), the
    concatenation holds one pooled map s times over, and the two convolutions see it as a single one. What is left for
    the finest branch, exactly: weights per channel and cell of the grid that is 2^(s-1) times coarser, s being
    `resolutions`. The paper's joint weighting of features of different depth is what a chain cannot have. At s = 1 it
    is a pixel attention with a bottleneck. Borders that a cell exceeds are averaged over what there is. The batch
    normalizations of the released code are left out.
    """

    resolutions: Annotated[int, Field(ge=1, le=5, strict=True)] = 2
    cross_reduction: Positive = 8
    """Channel count over the hidden width of the cross-resolution weights."""
    spatial_reduction: Positive = 4
    """Channel count over the hidden width of the spatial weights."""

    def build(self, shape: Shape) -> nn.Module:
        """The gate for shape[0] channels, at any size."""
        channels = shape[0]
        cross = CoarseGate(channels, max(1, channels // self.cross_reduction), 2 ** (self.resolutions - 1))
        return nn.Sequential(cross, ChannelGate(channels, max(1, channels // self.spatial_reduction)))


class CoarseGate(nn.Module):
    """[b c h w] -> [b c h w]; one factor between 0 and 1 per sample, channel and cell of `cell` x `cell` positions."""

    def __init__(self, channels: int, hidden: int, cell: int) -> None:
        super().__init__()
        self.cell = cell
        self.reduce = nn.Conv2d(channels, hidden, 1)
        self.expand = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The input, each channel scaled cell by cell."""
        height, width = x.shape[2:]
        cell = (min(self.cell, height), min(self.cell, width))
        pooled = F.avg_pool2d(x, cell, ceil_mode=True, count_include_pad=False)
        weights = self.expand(F.relu(self.reduce(pooled))).sigmoid()
        enlarged = weights.repeat_interleave(cell[0], 2).repeat_interleave(cell[1], 3)
        return x * enlarged[:, :, :height, :width]
