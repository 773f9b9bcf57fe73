"""A large receptive field from small kernels, by recursion over resolutions."""

from __future__ import annotations

from typing import Annotated, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import Odd
from searchspaces.part import Shape

Interpolation = Literal["bilinear", "nearest"]


class RecursiveConvolution(TokenMixer):
    """RecConv: depthwise convolutions on ever halved features (Zhao et al., 2024, arXiv:2412.19628, section 3).

    x_0 = x, x_{l+1} = D x_l with one strided depthwise convolution D for all levels; going back, y_L = K_L * x_L and
    y_l = K_l * (x_l + up(y_{l+1})). The effective kernel is kernel * 2^levels at levels + 2 kernels of parameters and
    at most 5/3 of one convolution's work. K_0 belongs to the full resolution: fewer levels are the leading ones.
    """

    kernel: Odd = 5
    levels: Annotated[int, Field(ge=1, le=6, strict=True)] = 2
    interpolation: Interpolation = "bilinear"

    def build(self, shape: Shape) -> nn.Module:
        """The convolutions for shape[0] channels, at any size."""
        return MultiFrequencyConvolution(shape[0], self.kernel, self.levels, self.interpolation)


class MultiFrequencyConvolution(nn.Module):
    """[b c h w] -> [b c h w]; zeros outside, no biases, as published."""

    def __init__(self, channels: int, kernel: int, levels: int, interpolation: Interpolation) -> None:
        super().__init__()
        self.interpolation = interpolation
        self.down = nn.Conv2d(channels, channels, kernel, 2, kernel // 2, groups=channels, bias=False)
        self.levels = nn.ModuleList(
            nn.Conv2d(channels, channels, kernel, 1, kernel // 2, groups=channels, bias=False)
            for _ in range(levels + 1)
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The convolved features."""
        features = [x]
        for _ in range(len(self.levels) - 1):
            features.append(self.down(features[-1]))
        y = self.levels[-1](features[-1])
        for convolution, finer in zip(list(self.levels)[-2::-1], features[-2::-1], strict=True):
            y = convolution(finer + F.interpolate(y, size=finer.shape[2:], mode=self.interpolation))
        return y
