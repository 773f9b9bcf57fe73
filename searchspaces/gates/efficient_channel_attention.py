"""Channel attention by one short convolution along the channels."""

from __future__ import annotations

import math
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from searchspaces.gates._role import Gate
from searchspaces.mixers._window import Odd
from searchspaces.part import Shape


class EfficientChannelAttention(Gate):
    """Scales each channel by sigmoid(conv1d_k(z)), z the means over positions (ECA-Net: Wang et al., 2020).

    arXiv:1910.03151, equations 9 and 12: k weights altogether, shared by all channels, without a reduction between.
    `kernel` is k; without one it is psi(c) of the channel count, see `adaptive_kernel`. A smaller kernel is the centre
    of a larger one.
    """

    spatial_ranks: ClassVar[tuple[int, ...]] = (1, 2)

    kernel: Odd | None = None

    def build(self, shape: Shape) -> nn.Module:
        """The gate for shape[0] channels, at any size."""
        return NeighborGate(self.kernel or adaptive_kernel(shape[0]))


def adaptive_kernel(channels: int, gamma: float = 2, offset: float = 1) -> int:
    """psi(c) = |(log2(c) + b) / gamma|, truncated and then raised to an odd number (equation 12 as released)."""
    size = int(abs((math.log2(channels) + offset) / gamma))
    return size if size % 2 else size + 1


class NeighborGate(nn.Module):
    """[b c *positions] -> the same; one factor between 0 and 1 per sample and channel, from the channels beside it."""

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Float[Tensor, "b c *positions"]) -> Float[Tensor, "b c *positions"]:
        """The input, each channel scaled."""
        means = x.flatten(2).mean(2)
        scale = self.convolution(means[:, None])[:, 0].sigmoid()
        return x * scale.reshape(*means.shape, *[1] * (x.ndim - 2))
