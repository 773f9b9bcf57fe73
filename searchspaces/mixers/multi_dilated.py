"""Depthwise convolution whose channel groups look at different distances."""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import OddPair, PositivePair, pair
from searchspaces.part import Shape


class MultiDilated(TokenMixer):
    """Depthwise convolution with several dilations over channel groups (after D3Net: Takahashi, Mitsufuji, 2021).

    arXiv:2011.11844, figure 1b, gives every group of input channels its own dilation so that one layer sees several
    distances without aliasing; here each channel is convolved alone, as in `depthwise`. Channel i has dilation
    i mod (number of dilations): interleaved, so that a channel keeps its dilation at every width of the network, and
    the leading slice of each group's weights belongs to the same channels. Group sizes differ by one at most.
    """

    kernel: OddPair = 3
    dilations: Annotated[tuple[PositivePair, ...], Field(min_length=1)] = (1, 2, 3)

    def build(self, shape: Shape) -> nn.Module:
        """The convolutions for shape[0] channels, at any size; dilations beyond the channel count stay out."""
        dilations = tuple(pair(dilation) for dilation in self.dilations)
        return MultiDilatedConvolution(shape[0], pair(self.kernel), dilations)


class MultiDilatedConvolution(nn.Module):
    """[b c h w] -> [b c h w]; channels g, g + n, g + 2n, ... are convolved with the g-th of n dilations."""

    def __init__(self, channels: int, kernel: tuple[int, int], dilations: tuple[tuple[int, int], ...]) -> None:
        super().__init__()
        self.dilations = len(dilations)
        self.rounds = channels // len(dilations)
        self.groups = nn.ModuleList()
        for group, (down, right) in enumerate(dilations[:channels]):
            size = len(range(group, channels, len(dilations)))
            padding = (down * (kernel[0] // 2), right * (kernel[1] // 2))
            self.groups.append(nn.Conv2d(size, size, kernel, 1, padding, (down, right), groups=size))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The convolved features, channels in the input's order."""
        outputs = [group(x[:, index :: self.dilations]) for index, group in enumerate(self.groups)]
        if self.rounds == 0:
            return torch.cat(outputs, 1)
        full_rounds = torch.stack([output[:, : self.rounds] for output in outputs], 2).flatten(1, 2)
        return torch.cat([full_rounds, *(output[:, self.rounds :] for output in outputs)], 1)
