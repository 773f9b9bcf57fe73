"""Values modulated by depthwise convolutions of several sizes."""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import Odd, Positive
from searchspaces.part import Shape


class ScaleAwareModulation(TokenMixer):
    """Scale-aware modulation (SMT: Lin et al., 2023, arXiv:2307.08579).

    Multi-head mixed convolution gives each head of channels a depthwise kernel of its own size, H_j = DW_{k_j}(x_j);
    scale-aware aggregation mixes groups that hold one channel of each head, by a grouped 1 x 1 convolution with
    `expansion` outputs an input, batch normalization and GELU, then all groups by a 1 x 1 convolution to M; the output
    is a projection of M * (W_v x). One head for each of `kernels`. Channel i belongs to head i mod (number of heads):
    the channels in order are then the groups in order, which is the paper's shuffle, and a channel keeps its kernel at
    every width. Widths that are no multiple of the heads are padded up inside of the modulator.
    """

    kernels: Annotated[tuple[Odd, ...], Field(min_length=1)] = (3, 5, 7, 9)
    expansion: Positive = 2

    def build(self, shape: Shape) -> nn.Module:
        """The modulation for shape[0] channels, at any size."""
        return ScaleAwareModulator(shape[0], self.kernels, self.expansion)


class ScaleAwareModulator(nn.Module):
    """[b c h w] -> [b c h w]; the values times features of several scales."""

    def __init__(self, channels: int, kernels: tuple[int, ...], expansion: int) -> None:
        super().__init__()
        groups = -(-channels // len(kernels))
        inner = groups * len(kernels)
        self.value = nn.Conv2d(channels, channels, 1)
        self.scale = nn.Conv2d(channels, inner, 1)
        self.heads = nn.ModuleList(
            nn.Conv2d(groups, groups, kernel, padding=kernel // 2, groups=groups) for kernel in kernels
        )
        self.within = nn.Conv2d(inner, inner * expansion, 1, groups=groups)
        self.norm = nn.BatchNorm2d(inner * expansion)
        self.activation = nn.GELU()
        self.across = nn.Conv2d(inner * expansion, channels, 1)
        self.output = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The modulated values, projected."""
        modulator = self.across(self.activation(self.norm(self.within(self._scales(self.scale(x))))))
        return self.output(modulator * self.value(x))

    def _scales(self, x: Float[Tensor, "b e h w"]) -> Float[Tensor, "b e h w"]:
        """Every head's channels convolved with its kernel, channels in the input's order."""
        heads = [head(x[:, index :: len(self.heads)]) for index, head in enumerate(self.heads)]
        return torch.stack(heads, 2).flatten(1, 2)
