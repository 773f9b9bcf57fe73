"""What the operations of the published cells are made of."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.part import Shape

Stride = Annotated[int, Field(ge=1)]


def strided(shape: Shape, width: int, stride: int) -> Shape:
    """That many channels, and sizes divided by the stride, rounded up."""
    return (width, *(math.ceil(size / stride) for size in shape[1:]))


def relu_convolution(channels: int, width: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """ReLU, convolution with 'same' padding, batch normalization."""
    convolution = nn.Conv2d(channels, width, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(nn.ReLU(), convolution, nn.BatchNorm2d(width))


class Operation(nn.Module):
    """One operation of several that may stand on an edge.

    Args:
        name: keeps the operation's shared weights apart from those of its like, such as of another kernel.
        layers: what it computes.
    """

    def __init__(self, name: str, layers: nn.Module) -> None:
        super().__init__()
        self.name = name
        self.add_module(name, layers)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        """What the layers give."""
        return self.get_submodule(self.name)(x)


class FactorizedReduction(nn.Module):
    """ReLU, two strided pointwise convolutions that read different positions, side by side, batch normalization."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.even = nn.Conv2d(channels, width - width // 2, 1, stride, bias=False)
        self.odd = nn.Conv2d(channels, width // 2, 1, stride, bias=False) if width > 1 else None
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b width h2 w2"]:
        """Sizes divided by the stride, rounded up; where the second one's positions end outside, zeros are read."""
        x = x.relu()
        if self.odd is None:
            return self.norm(self.even(x))
        shift = self.stride // 2
        bottom, right = (shift if 0 < size % self.stride <= shift else 0 for size in x.shape[2:])
        padded = F.pad(x, (0, right, 0, bottom)) if bottom or right else x
        return self.norm(torch.cat([self.even(x), self.odd(padded[:, :, shift:, shift:])], 1))
