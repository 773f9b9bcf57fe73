"""Depthwise separable convolutions as an operation of a cell."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import nn

from searchspaces.blocks._convolution import OddKernel
from searchspaces.blocks._operation import Operation, Stride, strided
from searchspaces.blocks._role import Block
from searchspaces.part import Shape


class SeparableConvolution(Block):
    """ReLU, depthwise and pointwise convolution, batch normalization, at the width of its input.

    Applied twice, the stride in the first: `sep_conv` of NASNet (arXiv:1707.07012, appendix A.4) and DARTS
    (arXiv:1806.09055, section 3.1). Once and with dilation 2: DARTS's `dil_conv`.
    """

    kernel: OddKernel = 3
    stride: Stride = 1
    dilation: Annotated[int, Field(ge=1)] = 1
    repeats: Annotated[int, Field(ge=1)] = 2

    def build(self, shape: Shape) -> nn.Module:
        """The operation for [b c h w] features."""
        layers: list[nn.Module] = []
        for repeat in range(self.repeats):
            layers += self._once(shape[0], 1 if repeat else self.stride)
        name = f"separable_{self.kernel}x{self.kernel}_dilation_{self.dilation}_times_{self.repeats}"
        return Operation(name, nn.Sequential(*layers))

    def _once(self, channels: int, stride: int) -> list[nn.Module]:
        """One separable convolution."""
        reach = self.dilation * (self.kernel // 2)
        depthwise = nn.Conv2d(
            channels, channels, self.kernel, stride, reach, self.dilation, groups=channels, bias=False
        )
        return [nn.ReLU(), depthwise, nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels)]

    def output_shape(self, shape: Shape) -> Shape:
        """Sizes divided by the stride, rounded up."""
        return strided(shape, shape[0], self.stride)
