"""One attention map for each group of channels."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.gates._role import Gate
from searchspaces.mixers._window import Positive
from searchspaces.part import Shape


class SubspaceAttention(Gate):
    """ULSAM (Saini et al., 2020, arXiv:2006.15102, section 3).

    In each of `groups` subspaces F: A = softmax(PW(maxpool3x3(DW(F)))), F' = A * F + F, the softmax over positions;
    DW is a 1x1 depthwise convolution, PW a pointwise one to a single map, whose bias the softmax would cancel. The
    batch normalizations of the released code are not in the equations and left out. Subspaces interleave, channel i
    belongs to i mod groups: contiguous ones would move with the width. Any channel count will do.
    """

    groups: Positive = 4

    def build(self, shape: Shape) -> nn.Module:
        """The gate for shape[0] channels, at any size."""
        return SubspaceGate(shape[0], self.groups)


class SubspaceGate(nn.Module):
    """[b c h w] -> [b c h w]; the input times one more than its subspace's attention."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.groups, self.members = groups, -(-channels // groups)
        self.depthwise = nn.Conv2d(channels, channels, 1, groups=channels)
        self.pointwise = nn.Conv2d(groups * self.members, groups, 1, groups=groups, bias=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The input, attended in each subspace, and itself."""
        pooled = F.max_pool2d(self.depthwise(x), 3, 1, 1)
        padded = F.pad(pooled, (0, 0, 0, 0, 0, self.groups * self.members - x.shape[1]))
        by_group = padded.unflatten(1, (self.members, self.groups)).transpose(1, 2).flatten(1, 2)
        attention = self.pointwise(by_group).flatten(2).softmax(2).unflatten(2, x.shape[2:])
        return x * attention.repeat(1, self.members, 1, 1)[:, : x.shape[1]] + x
