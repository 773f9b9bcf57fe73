"""The operation that leaves an edge of a cell out."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from searchspaces.blocks._operation import Stride, strided
from searchspaces.blocks._role import Block
from searchspaces.part import Shape


class Zero(Block):
    """Zeros: `none` of NAS-Bench-201 (arXiv:2001.00326, section 2.1), computed as there by multiplication."""

    stride: Stride = 1

    def build(self, shape: Shape) -> nn.Module:
        """The operation for [b c h w] features; it has no parameters."""
        return Zeros(self.stride)

    def output_shape(self, shape: Shape) -> Shape:
        """Sizes divided by the stride, rounded up."""
        return strided(shape, shape[0], self.stride)


class Zeros(nn.Module):
    """0 times every `stride`-th position."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        """Zeros."""
        return (x if self.stride == 1 else x[:, :, :: self.stride, :: self.stride]) * 0.0
