"""Channel attention from chosen spatial frequencies, of which the mean is the lowest."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import AfterValidator, Field
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.gates._role import Gate
from searchspaces.mixers._window import Positive
from searchspaces.part import Shape

GRID = 7
"""Frequencies are named on a 7x7 grid, whatever the features' size (section 3.3)."""

Index = Annotated[int, Field(ge=0, lt=GRID, strict=True)]
Frequency = tuple[Index, Index]
"""(vertical, horizontal): half-periods over a 7x7 map; on 14x14, (2, 4) is what (1, 2) is on 7x7."""

LOW: tuple[Frequency, ...] = tuple(
    sorted(((u, v) for u in range(GRID) for v in range(GRID)), key=lambda pair: (sum(pair), max(pair), pair))
)
"""From the mean up: by u + v, then by the larger of the two."""

# fmt: off
TOP: tuple[Frequency, ...] = (
    (0, 0), (0, 1), (6, 0), (0, 5), (0, 2), (1, 0), (1, 2), (4, 0), (5, 0), (1, 6), (3, 0), (0, 4), (0, 6), (0, 3),
    (3, 5), (2, 2), (4, 6), (6, 3), (3, 3), (5, 3), (5, 5), (2, 1), (6, 1), (5, 2), (5, 4), (3, 2), (3, 1), (4, 1),
    (2, 3), (2, 0), (6, 5), (1, 3),
)
"""The 32 best of the 49 by the accuracy of a ResNet with that one alone, in the order of the authors' code."""
# fmt: on

Count = Annotated[int, Field(ge=1, le=len(TOP), strict=True)]


def _some(frequencies: int | tuple[Frequency, ...]) -> int | tuple[Frequency, ...]:
    """The frequencies, if there are any."""
    if frequencies == ():
        raise ValueError("must be at least one frequency")
    return frequencies


ORDERS: dict[str, tuple[Frequency, ...]] = {"low": LOW, "top": TOP}


class Multispectral(Gate):
    """Multi-spectral channel attention (FcaNet: Qin et al., 2021, arXiv:2012.11879, section 3.3).

    Scales channel i by sigmoid(W2 relu(W1 z))_i, where z_i is not the mean of the channel's map but its coefficient
    of the orthonormal two-dimensional DCT at the frequency of i's group. `frequencies` is how many, the first of an
    `order` (`low`, or `top`, of 32), or the frequencies themselves, as pairs on the 7x7 grid; a grid frequency u
    is floor(u h / 7) on h rows, so that bases are those of the features' own size, and no pooling to 7x7 is needed.
    `reduction` is the channel count over the hidden width. Groups interleave, channel i belongs to group i mod n: the
    paper's groups, contiguous, would give a channel another frequency at every width.
    """

    frequencies: Annotated[Count | tuple[Frequency, ...], AfterValidator(_some)] = 16
    order: Literal["low", "top"] = "low"
    reduction: Positive = 16

    def build(self, shape: Shape) -> nn.Module:
        """The gate for shape[0] channels at exactly this size; its weights serve every size."""
        chosen = self.frequencies
        pairs = ORDERS[self.order][:chosen] if isinstance(chosen, int) else chosen
        return SpectralGate(shape, max(1, shape[0] // self.reduction), pairs)


class SpectralGate(nn.Module):
    """[b c h w] -> [b c h w]; one factor between 0 and 1 per sample and channel."""

    basis: Tensor

    def __init__(self, shape: tuple[int, ...], hidden: int, frequencies: tuple[tuple[int, int], ...]) -> None:
        super().__init__()
        channels, height, width = shape
        bases = torch.stack([torch.outer(cosine(u, height), cosine(v, width)) for u, v in frequencies])
        self.register_buffer("basis", bases[torch.arange(channels) % len(frequencies)], persistent=False)
        self.reduce = nn.Linear(channels, hidden, bias=False)
        self.expand = nn.Linear(hidden, channels, bias=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The input, each channel scaled."""
        coefficients = (x * self.basis).sum((2, 3))
        return x * self.expand(F.relu(self.reduce(coefficients))).sigmoid()[..., None, None]


def cosine(frequency: int, size: int) -> Float[Tensor, "size"]:
    """The basis vector of the orthonormal DCT-II of this size at a frequency of the grid of 7."""
    own = frequency * size // GRID
    scale = math.sqrt((2 if own else 1) / size)
    return scale * torch.cos(math.pi * own / size * (torch.arange(size) + 0.5))
