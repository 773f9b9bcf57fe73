"""Multi-head softmax attention inside windows."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import Positive, PositivePair, pair
from searchspaces.part import Shape


class WindowAttention(TokenMixer):
    """Self-attention inside the windows of a grid, shifted by half a window if asked (Swin: Liu et al., 2021).

    arXiv:2103.14030, section 3.2, without its relative position bias. Sizes that are no multiple of the window are
    padded, and padded keys are masked, so a window at the border is a smaller one. A shifted grid is made by padding
    too: it gives what the paper's cyclic shift with masks gives. Along an axis that one window covers, the window has
    the axis' length and no shift, as in the paper's implementation. The inner width is heads * head_width.
    """

    heads: Positive = 4
    head_width: Positive = 16
    window: PositivePair = 7
    shifted: bool = Field(default=False, strict=True)

    def build(self, shape: Shape) -> nn.Module:
        """The attention for shape[0] channels at this size."""
        size, asked = (shape[1], shape[2]), pair(self.window)
        window = (min(asked[0], size[0]), min(asked[1], size[1]))
        shift = (0, 0)
        if self.shifted:
            shift = (window[0] // 2 * (asked[0] < size[0]), window[1] // 2 * (asked[1] < size[1]))
        return WindowSelfAttention(shape[0], size, self.heads, self.head_width, window, shift)


class WindowSelfAttention(nn.Module):
    """[b c h w] -> [b c h w]; softmax(q k^T / sqrt(d)) v among the positions of each window, per head.

    The window grid starts `shift` positions after the image's first, with smaller windows before. Keys have no bias:
    it would add the same to all scores of a query, which the softmax takes away again.
    """

    mask: Tensor | None

    def __init__(
        self,
        channels: int,
        size: tuple[int, int],
        heads: int,
        head_width: int,
        window: tuple[int, int],
        shift: tuple[int, int],
    ) -> None:
        super().__init__()
        self.size, self.window, self.heads, self.inner = size, window, heads, heads * head_width
        self.before = (-shift[0] % window[0], -shift[1] % window[1])
        self.grid = tuple(-(-(self.before[axis] + size[axis]) // window[axis]) for axis in (0, 1))
        self.query = nn.Linear(channels, self.inner)
        self.key = nn.Linear(channels, self.inner, bias=False)
        self.value = nn.Linear(channels, self.inner)
        self.output = nn.Linear(self.inner, channels)
        self.register_buffer("mask", self._inside(), persistent=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The attended values, projected back to the channels."""
        tokens = x.permute(0, 2, 3, 1)
        query, key, value = (self._partition(role(tokens)) for role in (self.query, self.key, self.value))
        mixed = F.scaled_dot_product_attention(query, key, value, self.mask)
        return self.output(self._merge(mixed)).permute(0, 3, 1, 2)

    def _inside(self) -> Bool[Tensor, "1 windows_n 1 t"] | None:
        """Which positions of each window and head lie inside the image; None if all do."""
        (down, right), (rows, columns), (top, left) = self.grid, self.window, self.before
        padded = torch.zeros(down * rows, right * columns, dtype=torch.bool)
        padded[top : top + self.size[0], left : left + self.size[1]] = True
        windows = padded.view(down, rows, right, columns).transpose(1, 2).reshape(-1, rows * columns)
        return None if padded.shape == self.size else windows.repeat_interleave(self.heads, 0)[None, :, None]

    def _partition(self, tokens: Float[Tensor, "b h w nd"]) -> Float[Tensor, "b windows_n t d"]:
        """Padded positions by window and head, both on the second axis."""
        (down, right), (rows, columns), (top, left) = self.grid, self.window, self.before
        bottom, end = down * rows - self.size[0] - top, right * columns - self.size[1] - left
        padded = F.pad(tokens, (0, 0, left, end, top, bottom))
        split = padded.reshape(-1, down, rows, right, columns, self.heads, self.inner // self.heads)
        return split.permute(0, 1, 3, 5, 2, 4, 6).flatten(4, 5).flatten(1, 3)

    def _merge(self, windows: Float[Tensor, "b windows_n t d"]) -> Float[Tensor, "b h w nd"]:
        """The inverse of `_partition`, without the padding."""
        (down, right), (rows, columns), (top, left) = self.grid, self.window, self.before
        split = windows.reshape(-1, down, right, self.heads, rows, columns, self.inner // self.heads)
        image = split.permute(0, 1, 4, 2, 5, 3, 6).flatten(5, 6).flatten(3, 4).flatten(1, 2)
        return image[:, top : top + self.size[0], left : left + self.size[1]]
