"""Channels in three parts: max-pooled, convolved, and attended at low resolution."""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from searchspaces.mixers._depthwise import depthwise
from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import OddPair, Positive, PositivePair, pair
from searchspaces.mixers.attention import SelfAttention
from searchspaces.part import Shape


class InceptionMixer(TokenMixer):
    """Inception token mixer (iFormer: Si et al., 2022, arXiv:2205.12956, section 3).

    High-frequency channels: Y_h1 = FC(MaxPool(X_h1)) and Y_h2 = DwConv(FC(X_h2)); low-frequency ones: Y_l =
    Upsample(MSA(AvePooling(X_l))); Y = FC(Y_c + DwConv(Y_c)) with Y_c all of them. `low_share` is C_l / C; the paper's
    frequency ramp is a share that grows from stage to stage, which is the network's choice. The parts are interleaved
    over the channels, so that a channel keeps its part at every width: channel i is low where floor((i + 1) share)
    exceeds floor(i share), and the others are pooled and convolved in turns. As in the equations, and unlike the
    authors' code, the high-frequency branches do not double their width nor end in GELU.
    """

    low_share: Annotated[float, Field(ge=0, le=1, strict=True)] = 0.5
    kernel: OddPair = 3
    """Of max-pooling and of the depthwise convolutions."""
    pool: PositivePair = 2
    """Window and stride of the average pooling before attention."""
    heads: Positive = 2
    head_width: Positive = 16

    def build(self, shape: Shape) -> nn.Module:
        """The mixer for shape[0] channels at this size; parts without channels do not exist."""
        asked = pair(self.pool)
        pool = (min(asked[0], shape[1]), min(asked[1], shape[2]))
        return InceptionTokenMixer(shape[0], self.low_share, pair(self.kernel), pool, self.heads, self.head_width)


class InceptionTokenMixer(nn.Module):
    """[b c h w] -> [b c h w]; each part of the channels through its own branch, then fused."""

    order: Tensor
    inverse: Tensor

    def __init__(
        self,
        channels: int,
        low_share: float,
        kernel: tuple[int, int],
        pool: tuple[int, int],
        heads: int,
        head_width: int,
    ) -> None:
        super().__init__()
        low = [i for i in range(channels) if int((i + 1) * low_share) > int(i * low_share)]
        high = [i for i in range(channels) if i not in low]
        order = [*low, *high[::2], *high[1::2]]
        self.widths = [len(low), len(high[::2]), len(high[1::2])]
        self.register_buffer("order", torch.tensor(order), persistent=False)
        self.register_buffer("inverse", torch.tensor(sorted(range(channels), key=order.__getitem__)), persistent=False)
        attended, pooled, convolved = self.widths
        self.attended = LowResolutionAttention(attended, pool, heads, head_width) if attended else None
        self.pooled = _pooled(pooled, kernel) if pooled else None
        self.convolved = (
            nn.Sequential(nn.Conv2d(convolved, convolved, 1), depthwise(convolved, kernel)) if convolved else None
        )
        self.local = depthwise(channels, kernel)
        self.output = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The fused parts."""
        parts = x[:, self.order].split(self.widths, 1)
        branches = (self.attended, self.pooled, self.convolved)
        mixed = torch.cat([branch(part) for branch, part in zip(branches, parts, strict=True) if branch is not None], 1)
        mixed = mixed[:, self.inverse]
        return self.output(mixed + self.local(mixed))


class LowResolutionAttention(nn.Module):
    """[b c h w] -> [b c h w]; attention between means over windows, given back to each of their positions."""

    def __init__(self, channels: int, window: tuple[int, int], heads: int, head_width: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(window, window, ceil_mode=True, count_include_pad=False)
        self.attention = SelfAttention(channels, heads, head_width)
        self.repeat = nn.Upsample(scale_factor=(float(window[0]), float(window[1])), mode="nearest")

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The attended means, each at all positions of its window."""
        return self.repeat(self.attention(self.pool(x)))[:, :, : x.shape[2], : x.shape[3]]


def _pooled(channels: int, kernel: tuple[int, int]) -> nn.Sequential:
    """Max-pooling that keeps the size, then a linear layer."""
    pool = nn.MaxPool2d(kernel, 1, (kernel[0] // 2, kernel[1] // 2))
    return nn.Sequential(pool, nn.Conv2d(channels, channels, 1))
