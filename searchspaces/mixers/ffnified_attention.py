"""Query, key and value with convolutions in the place of attention's products."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from searchspaces.blocks._convolution import ConvolutionNorm, convolution_norm
from searchspaces.mixers._fusion import convolution_of, embedded, folded
from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import Odd
from searchspaces.part import Shape


class FfnifiedAttention(TokenMixer):
    """FFNified attention (MetaMixer, FFNet: Yun et al., 2024, arXiv:2406.02021).

    y = V * gelu(K * q), q = BN(W x): the products of query and key and of coefficient and value are depthwise
    convolutions with static kernels K and V, the softmax is GELU. Every kernel above 3 is trained as a normalized k x k
    and a normalized 3 x 3 convolution, as in the authors' code, and kernels up to 3 with the first alone; `fuse` merges
    all normalizations and branches. Sizes of key and value kernels are chosen apart.
    """

    key_kernel: Odd = 7
    value_kernel: Odd = 7

    def build(self, shape: Shape) -> nn.Module:
        """The training form for shape[0] channels, at any size."""
        return ConvolutionalKeyValue(shape[0], self.key_kernel, self.value_kernel)


class ConvolutionalKeyValue(nn.Module):
    """[b c h w] -> [b c h w]; projection, key convolution, GELU, value convolution."""

    def __init__(self, channels: int, key_kernel: int, value_kernel: int) -> None:
        super().__init__()
        self.query = convolution_norm(channels, channels, 1)
        self.key = ReparameterizedDepthwise(channels, key_kernel)
        self.activation = nn.GELU()
        self.value = ReparameterizedDepthwise(channels, value_kernel)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The values' sum, weighted by the activated coefficients."""
        return self.value(self.activation(self.key(self.query(x))))

    @torch.no_grad()
    def fuse(self) -> nn.Sequential:
        """The same function in evaluation mode, as three convolutions."""
        query = convolution_of(*folded(self.query))
        return nn.Sequential(query, self.key.fuse(), self.activation, self.value.fuse())


class ReparameterizedDepthwise(nn.Module):
    """[b c h w] -> [b c h w]; the sum of a large and a small normalized depthwise convolution."""

    small: ConvolutionNorm | None

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.large = convolution_norm(channels, channels, kernel, groups=channels)
        self.small = convolution_norm(channels, channels, 3, groups=channels) if kernel > 3 else None

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The convolved features."""
        return self.large(x) if self.small is None else self.large(x) + self.small(x)

    @torch.no_grad()
    def fuse(self) -> nn.Module:
        """The same function in evaluation mode as one depthwise convolution."""
        weight, bias = folded(self.large)
        if self.small is not None:
            more, constant = folded(self.small)
            weight, bias = weight + embedded(more, 1, weight.shape[2]), bias + constant
        return convolution_of(weight, bias, groups=len(bias))
