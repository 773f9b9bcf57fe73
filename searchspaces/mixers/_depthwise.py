"""The depthwise layer that many mixers hold."""

from __future__ import annotations

from torch import nn


def depthwise(channels: int, kernel: tuple[int, int]) -> nn.Conv2d:
    """A depthwise convolution that keeps the size, zeros outside; kernel sizes are odd."""
    return nn.Conv2d(channels, channels, kernel, 1, (kernel[0] // 2, kernel[1] // 2), groups=channels)
