"""FMViT's convolutional block."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from searchspaces.blocks._convolution import OddKernel, convolution_norm
from searchspaces.blocks._role import Block
from searchspaces.channel_mixers.multigroup_mlp import MultigroupMlp
from searchspaces.mixers._fusion import convolution_of, embedded, folded
from searchspaces.part import Shape


class ConvolutionalFusion(Block):
    """CFB, the convolutional fusion block of FMViT (Tan, Geng and Xie, 2023, arXiv:2311.05707).

    Taken as its definition, from the paper's description: y = x + N(K x) + N(k x), z = y + gMLP(y), with K a depthwise
    convolution, k a depthwise 1x1 convolution, and N batch normalization. In inference y is one depthwise convolution
    that holds the shortcut too, and gMLP has two plain layers.
    """

    kernel: OddKernel = 3
    mlp: MultigroupMlp = MultigroupMlp()

    def build(self, shape: Shape) -> nn.Module:
        """The training form for [b c h w] features."""
        return LocalMixing(MultikernelFilter(shape[0], self.kernel), self.mlp.build(shape))


class LocalMixing(nn.Module):
    """y + mlp(y), y = local(x)."""

    def __init__(self, local: nn.Module, mlp: nn.Module) -> None:
        super().__init__()
        self.local, self.mlp = local, mlp

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The same shape."""
        y = self.local(x)
        return y + self.mlp(y)


class MultikernelFilter(nn.Module):
    """[b c h w] -> [b c h w]; x plus normalized depthwise convolutions with a k x k and a 1 x 1 kernel."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.large = convolution_norm(channels, channels, kernel, groups=channels)
        self.small = convolution_norm(channels, channels, 1, groups=channels)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The filtered features."""
        return x + self.large(x) + self.small(x)

    @torch.no_grad()
    def fuse(self) -> nn.Module:
        """The same function in evaluation mode as one depthwise convolution."""
        (large, bias), (small, offset) = (folded(part) for part in (self.large, self.small))
        return convolution_of(large + embedded(1 + small, 1, large.shape[2]), bias + offset, groups=len(bias))
