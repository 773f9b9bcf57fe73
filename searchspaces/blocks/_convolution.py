"""Convolution, batch normalization and activation: what convolutional networks are made of."""

from __future__ import annotations

from typing import Annotated, Literal

from jaxtyping import Float
from pydantic import AfterValidator, Field
from torch import Tensor, nn


def odd(value: int) -> int:
    """The value, if it is odd."""
    if value % 2 == 0:
        raise ValueError(f"must be odd, not {value}")
    return value


OddKernel = Annotated[int, Field(ge=1), AfterValidator(odd)]

Activation = Literal["relu", "relu6", "silu", "gelu", "hardswish", "none"]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "hardswish": nn.Hardswish,
    "none": nn.Identity,
}


def convolution_norm(
    channels: int, width: int, kernel: int, stride: int = 1, groups: int = 1, activation: Activation = "none"
) -> ConvolutionNorm:
    """Convolution with 'same' padding, batch normalization and the named activation."""
    convolution = nn.Conv2d(channels, width, kernel, stride, kernel // 2, groups=groups, bias=False)
    return ConvolutionNorm(convolution, nn.BatchNorm2d(width), ACTIVATIONS[activation]())


class ConvolutionNorm(nn.Module):
    """activation(norm(convolution(x)))."""

    def __init__(self, convolution: nn.Module, norm: nn.Module, activation: nn.Module) -> None:
        super().__init__()
        self.convolution, self.norm, self.activation = convolution, norm, activation

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        """Features of the convolution's width and stride."""
        return self.activation(self.norm(self.convolution(x)))
