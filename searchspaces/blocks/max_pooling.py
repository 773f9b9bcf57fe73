"""Downsampling without parameters: the largest value of each window."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import nn

from searchspaces.blocks._role import Block
from searchspaces.part import Shape


class MaxPooling(Block):
    """Max pooling in windows that begin at the first position; the last one may reach beyond the image.

    The `ceil_mode` of Caffe, in which VoVNet (arXiv:1904.09730) was published. A window is no larger than the image.
    """

    kernel: Annotated[int, Field(ge=1)] = 3
    stride: Annotated[int, Field(ge=1)] = 2

    def build(self, shape: Shape) -> nn.Module:
        """The pooling of [b c h w] features of this size."""
        kernel = (min(self.kernel, shape[1]), min(self.kernel, shape[2]))
        return nn.MaxPool2d(kernel, self.stride, ceil_mode=True)

    def output_shape(self, shape: Shape) -> Shape:
        """Channels stay; one position for each window that begins inside the image."""
        return (shape[0], *map(self._windows, shape[1:]))

    def _windows(self, size: int) -> int:
        """How many windows cover an axis, or as many as begin inside it."""
        beyond = size - min(self.kernel, size)
        return min(-(-beyond // self.stride), (size - 1) // self.stride) + 1
