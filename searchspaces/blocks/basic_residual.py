"""The residual block between the stages of NAS-Bench-201."""

from __future__ import annotations

from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from searchspaces.blocks._operation import Stride, relu_convolution, strided
from searchspaces.blocks._role import Block
from searchspaces.part import Shape


class BasicResidual(Block):
    """Two 3 x 3 convolutions behind ReLU; the shortcut averages and convolves where the stride is not 1.

    ResNet's basic block (arXiv:1512.03385) as NAS-Bench-201 reduces with it (arXiv:2001.00326, section 2.1): no
    normalization in the shortcut but where it changes the width alone.
    """

    width: Annotated[int, Field(ge=1)]
    stride: Stride = 2

    def build(self, shape: Shape) -> nn.Module:
        """The block for [b c h w] features."""
        first = relu_convolution(shape[0], self.width, 3, self.stride)
        return ResidualSum(nn.Sequential(first, relu_convolution(self.width, self.width, 3)), self._shortcut(shape[0]))

    def _shortcut(self, channels: int) -> nn.Module:
        if self.stride > 1:
            pool = nn.AvgPool2d(self.stride, self.stride, ceil_mode=True)
            return nn.Sequential(pool, nn.Conv2d(channels, self.width, 1, bias=False))
        return nn.Identity() if channels == self.width else relu_convolution(channels, self.width, 1)

    def output_shape(self, shape: Shape) -> Shape:
        """Sizes divided by the stride, rounded up."""
        return strided(shape, self.width, self.stride)


class ResidualSum(nn.Module):
    """branch(x) + shortcut(x)."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.branch, self.shortcut = branch, shortcut

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        """Features of the block's width and stride."""
        return self.shortcut(x) + self.branch(x)
