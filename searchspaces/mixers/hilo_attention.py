"""Some heads attend inside small windows, the others to the windows' means."""

from __future__ import annotations

from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from searchspaces.mixers._cross_attention import CrossAttention
from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import Positive, PositivePair, pair
from searchspaces.mixers.window_attention import WindowSelfAttention
from searchspaces.part import Shape


class HiloAttention(TokenMixer):
    """High- and low-frequency attention (HiLo, LITv2: Pan, Cai and Zhuang, 2022, arXiv:2205.13213).

    floor(low_share * heads) heads are Lo-Fi: each position attends to the means of keys' and values' sources over
    windows without overlap. The others are Hi-Fi: attention inside each window. `low_share` is the paper's alpha;
    with a window of 1 both see single positions and all heads are Lo-Fi, plain attention, as in its implementation.
    The paper projects each group of heads onto a share of the channels and concatenates; here both project onto all
    channels and are added, so that a channel means the same at every split, and the inner width is heads * head_width.
    """

    heads: Positive = 4
    head_width: Positive = 16
    window: PositivePair = 2
    low_share: Annotated[float, Field(ge=0, le=1, strict=True)] = 0.5

    def build(self, shape: Shape) -> nn.Module:
        """The attention for shape[0] channels at this size; no window is larger than the image."""
        asked = pair(self.window)
        low = self.heads if asked == (1, 1) else int(self.low_share * self.heads)
        window = (min(asked[0], shape[1]), min(asked[1], shape[2]))
        return HiLoSelfAttention(shape[0], (shape[1], shape[2]), (self.heads - low, low), self.head_width, window)


class HiLoSelfAttention(nn.Module):
    """[b c h w] -> [b c h w]; the sum of attention inside windows and attention to means of windows.

    `heads` are (high, low); a group without heads does not exist.
    """

    def __init__(
        self, channels: int, size: tuple[int, int], heads: tuple[int, int], head_width: int, window: tuple[int, int]
    ) -> None:
        super().__init__()
        high, low = heads
        self.high = WindowSelfAttention(channels, size, high, head_width, window, (0, 0)) if high else None
        self.low = PooledAttention(channels, low, head_width, window) if low else None

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Both groups' attended values, projected back to the channels."""
        if self.high is None or self.low is None:
            return self.high(x) if self.low is None else self.low(x)  # type: ignore[misc]
        return self.high(x) + self.low(x)


class PooledAttention(nn.Module):
    """[b c h w] -> [b c h w]; every position attends to the means over windows, smaller ones at the end."""

    def __init__(self, channels: int, heads: int, head_width: int, window: tuple[int, int]) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(window, window, ceil_mode=True, count_include_pad=False)
        self.attention = CrossAttention(channels, channels, heads, head_width)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The attended values, projected back to the channels."""
        tokens, context = (image.flatten(2).transpose(1, 2) for image in (x, self.pool(x)))
        return self.attention(tokens, context).transpose(1, 2).reshape(x.shape)
