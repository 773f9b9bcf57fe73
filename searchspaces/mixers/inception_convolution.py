"""Convolution in which every output channel has its own dilation, independent in height and width."""

from __future__ import annotations

import itertools
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import OddPair, PositivePair, pair
from searchspaces.part import Shape


class InceptionConvolution(TokenMixer):
    """Inception convolution: a dilation per axis and output channel (Liu et al., 2021, arXiv:2012.13587).

    y[o, i, j] = b[o] + sum_{c,u,v} w[o, c, u, v] x[c, i + d_h(o) u, j + d_w(o) v] with centred u, v. The pattern is
    repeated over the channels, d(o) = dilations[o mod length], so it may be as short as a few groups or as long as the
    layer is wide, and a channel keeps its dilation at every width. All patterns share one weight. `select_dilations`
    is the paper's search for a pattern.
    """

    kernel: OddPair = 3
    dilations: Annotated[tuple[PositivePair, ...], Field(min_length=1)] = ((1, 1), (1, 2), (2, 1), (2, 2))

    def build(self, shape: Shape) -> nn.Module:
        """The convolution for shape[0] channels, at any size."""
        return PatternedConvolution(shape[0], pair(self.kernel), tuple(pair(each) for each in self.dilations))


class PatternedConvolution(nn.Conv2d):
    """[b c h w] -> [b c h w]; output channel o is convolved with dilations[o mod length], zeros outside.

    One convolution for each distinct dilation; its weights are the rows of the channels that have it.
    """

    order: Tensor
    place: Tensor

    def __init__(self, channels: int, kernel: tuple[int, int], dilations: tuple[tuple[int, int], ...]) -> None:
        super().__init__(channels, channels, kernel)
        pattern = [dilations[channel % len(dilations)] for channel in range(channels)]
        self.distinct = list(dict.fromkeys(pattern))
        self.sizes = [pattern.count(dilation) for dilation in self.distinct]
        rows = [channel for dilation in self.distinct for channel in range(channels) if pattern[channel] == dilation]
        self.register_buffer("order", torch.tensor(rows, device="cpu"), persistent=False)
        self.register_buffer("place", torch.tensor(rows, device="cpu").argsort(), persistent=False)

    def _conv_forward(
        self,
        input: Float[Tensor, "b c h w"],
        weight: Float[Tensor, "c c k l"],
        bias: Float[Tensor, "c"] | None,
    ) -> Float[Tensor, "b c h w"]:
        """The convolution with given weights; the hook that fake quantization shares with torch's own layers."""
        assert bias is not None
        weights = weight.index_select(0, self.order).split(self.sizes)
        biases = bias.index_select(0, self.order).split(self.sizes)
        outputs = []
        for rows, offsets, (down, right) in zip(weights, biases, self.distinct, strict=True):
            margin = (down * (self.kernel_size[0] // 2), right * (self.kernel_size[1] // 2))
            outputs.append(F.conv2d(input, rows, offsets, 1, margin, (down, right)))
        return torch.cat(outputs, 1).index_select(1, self.place)

    def fuse(self) -> nn.Module:
        """The same as plain convolutions, one for each distinct dilation."""
        assert self.bias is not None
        convolutions = nn.ModuleList()
        for rows, dilation in zip(self.order.split(self.sizes), self.distinct, strict=True):
            margin = tuple(reach * (size // 2) for reach, size in zip(dilation, self.kernel_size, strict=True))
            plain = nn.Conv2d(self.in_channels, len(rows), self.kernel_size, 1, margin, dilation)  # type: ignore[arg-type]
            plain.weight, plain.bias = nn.Parameter(self.weight[rows]), nn.Parameter(self.bias[rows])
            convolutions.append(plain)
        return ReorderedConvolutions(convolutions, self.place)


class ReorderedConvolutions(nn.Module):
    """[b c h w] -> [b c h w]; the outputs of several convolutions, their channels put in order."""

    place: Tensor

    def __init__(self, convolutions: nn.ModuleList, place: Tensor) -> None:
        super().__init__()
        self.convolutions = convolutions
        self.register_buffer("place", place, persistent=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The convolved features."""
        return torch.cat([convolution(x) for convolution in self.convolutions], 1).index_select(1, self.place)


def select_dilations(
    weight: Float[Tensor, "o c k l"], x: Float[Tensor, "b c h w"], kernel: int = 3
) -> tuple[tuple[int, int], ...]:
    """Efficient dilation optimization (EDO, section 3.2): the dilation of each output channel, as a pattern.

    The weight of a trained layer with a kernel of (kernel - 1) d + 1 holds every dilation up to d. A channel takes the
    one that leaves out least: the smallest mean |W x - W_d x| over the given inputs, W_d being W on d's taps only.

    Args:
        weight: of the trained layer; both kernel sizes are (kernel - 1) d + 1 for the largest d of the axis.
        x: inputs of the layer.
        kernel: the size, above 1, of the convolution whose dilation is sought.
    """
    largest = [(size - 1) // (kernel - 1) for size in weight.shape[2:]]
    candidates = list(itertools.product(*(range(1, most + 1) for most in largest)))
    margins = [size // 2 for size in weight.shape[2:]]
    errors = []
    for dilation in candidates:
        inside = _taps(weight.shape[2], kernel, dilation[0])[:, None] & _taps(weight.shape[3], kernel, dilation[1])
        errors.append(F.conv2d(x, weight * ~inside.to(weight.device), padding=margins).abs().mean((0, 2, 3)))
    return tuple(candidates[best] for best in torch.stack(errors).argmin(0).tolist())


def _taps(size: int, kernel: int, dilation: int) -> Tensor:
    """Which positions along an axis of a large kernel are taps of the dilated one."""
    offsets = torch.arange(size) - size // 2
    return (offsets % dilation == 0) & (offsets.abs() <= dilation * (kernel // 2))
