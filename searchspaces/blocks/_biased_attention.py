"""Attention with a learned bias for each head and offset, the kind that LeViT's stages and their transitions share."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.blocks._convolution import ConvolutionNorm, convolution_norm


class BiasedAttention(nn.Module):
    """[b c h w] -> [b width h2 w2]; project(hardswish(softmax(q k^T / sqrt(d) + B) v)), per head.

    B of a query at (y, x) and a key at (y', x') is the head's number for the offset (|y - y'|, |x - x'|). Queries stand
    at each `stride`-th position along both axes. Each projection is normalized. Inner channels count heads slowest, so
    that fewer heads are the leading ones; narrower keys and values cut the leading channels into heads anew.

    Args:
        channels: of the input.
        width: of the output.
        size: height and width of the input.
        heads: how many.
        head_widths: channels of a key and of a value, per head.
        stride: of the queries.
    """

    offsets: Tensor

    def __init__(
        self,
        channels: int,
        width: int,
        size: tuple[int, int],
        heads: int,
        head_widths: tuple[int, int],
        stride: int = 1,
    ) -> None:
        super().__init__()
        self.heads, self.stride = heads, stride
        self.query = convolution_norm(channels, heads * head_widths[0], 1)
        self.key = convolution_norm(channels, heads * head_widths[0], 1)
        self.value = convolution_norm(channels, heads * head_widths[1], 1)
        self.activation = nn.Hardswish()
        self.output = convolution_norm(heads * head_widths[1], width, 1)
        self.bias = nn.Parameter(torch.zeros(heads, *size))
        self.register_buffer("offsets", _offsets(size, stride), persistent=False)

    @staticmethod
    def take(name: str, shared: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The leading heads, and the smallest offsets, of the biases for a larger map.

        The default, a centre crop along the last axis, would hand the bias of no offset to another one. Offsets count
        positions, as the taps of a convolution's kernel do: a neighbour's bias stays a neighbour's on a map of every
        size, and a smaller map only lacks the largest offsets. Since B knows no absolute position, a part of an
        image is attended to as that part of the whole.
        """
        return shared[tuple(slice(length) for length in shape)]

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b width h2 w2"]:
        """The attended values, projected."""
        sparse = x[:, :, :: self.stride, :: self.stride]
        query, key, value = self._split(self.query(sparse)), self._split(self.key(x)), self._split(self.value(x))
        bias = self.bias.flatten(1)[:, self.offsets]
        mixed = F.scaled_dot_product_attention(query, key, value, bias).transpose(2, 3).flatten(1, 2)
        return self.output(self.activation(mixed.unflatten(2, sparse.shape[2:])))

    def _split(self, image: Float[Tensor, "b nd h w"]) -> Float[Tensor, "b n t d"]:
        """Heads apart, positions as tokens."""
        return image.flatten(2).unflatten(1, (self.heads, -1)).transpose(2, 3)


def _offsets(size: tuple[int, int], stride: int) -> Int[Tensor, "queries keys"]:
    """For each query and key the place of their offset in a bias table of this size."""
    distances = []
    for length in size:
        places = torch.arange(length, device="cpu")
        distances.append((places[::stride, None] - places).abs())
    down, right = distances
    return (down[:, None, :, None] * size[1] + right[None, :, None, :]).flatten(2).flatten(0, 1)


def silenced(projection: ConvolutionNorm) -> ConvolutionNorm:
    """The projection, which ends a residual branch, with its normalization's weight zero: the branch starts as none."""
    assert isinstance(projection.norm, nn.BatchNorm2d)
    nn.init.zeros_(projection.norm.weight)
    return projection
