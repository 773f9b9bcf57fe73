"""Channel groups moved in different directions, then a pointwise convolution."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import Positive
from searchspaces.part import Shape

DIRECTIONS = ((-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))
"""Rows and columns by which the channel groups look aside: the eight neighbours."""


class ShiftConvolution(TokenMixer):
    """Shift-Conv: a spatial shift of channel groups and a 1 x 1 convolution (SCNet: Wu et al., 2023, arXiv:2307.16140).

    y = W s(x) + b, s(x)[c, i, j] = x[c, i + d v, j + d u], zeros outside, with (v, u) one of the eight neighbours and d
    the distance: the shift gives a 1 x 1 convolution the locality of a 3 x 3 one without parameters or multiplications
    (Wu et al., 2018, arXiv:1711.08141). Channel c moves in direction c mod 8, at every width.
    """

    distance: Positive = 1

    def build(self, shape: Shape) -> nn.Module:
        """The operator for shape[0] channels, at any size."""
        return ShiftedPointwise(shape[0], self.distance)


class ShiftedPointwise(nn.Module):
    """[b c h w] -> [b c h w]; the shift, then the pointwise convolution."""

    place: Tensor

    def __init__(self, channels: int, distance: int) -> None:
        super().__init__()
        self.distance, self.directions = distance, DIRECTIONS[:channels]
        order = [c for group in range(len(self.directions)) for c in range(group, channels, len(DIRECTIONS))]
        self.register_buffer("place", torch.tensor(order, device="cpu").argsort(), persistent=False)
        self.pointwise = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The mixed neighbours."""
        height, width, far = x.shape[2], x.shape[3], self.distance
        padded = F.pad(x, (far, far, far, far))
        moved = []
        for group, (down, right) in enumerate(self.directions):
            top, left = far * (1 + down), far * (1 + right)
            moved.append(padded[:, group :: len(DIRECTIONS), top : top + height, left : left + width])
        return self.pointwise(torch.cat(moved, 1).index_select(1, self.place))
