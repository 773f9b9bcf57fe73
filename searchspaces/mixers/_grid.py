"""An image cut into windows of one size, for operators that work inside each."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F


class Grid(NamedTuple):
    """Windows side by side from the image's first position on; the last ones reach beyond it where sizes do not fit."""

    size: tuple[int, int]
    """Of the image: (height, width)."""
    window: tuple[int, int]

    @property
    def cells(self) -> tuple[int, int]:
        """Windows along each axis."""
        return -(-self.size[0] // self.window[0]), -(-self.size[1] // self.window[1])

    def split(self, image: Float[Tensor, "b h w c"]) -> Float[Tensor, "b windows t c"]:
        """The windows' positions, zeros where they lie outside of the image."""
        (down, right), (rows, columns) = self.cells, self.window
        padded = F.pad(image, (0, 0, 0, right * columns - self.size[1], 0, down * rows - self.size[0]))
        split = padded.reshape(-1, down, rows, right, columns, image.shape[-1]).transpose(2, 3)
        return split.flatten(3, 4).flatten(1, 2)

    def join(self, windows: Float[Tensor, "b windows t c"]) -> Float[Tensor, "b h w c"]:
        """The inverse of `split`: the positions that lie inside the image."""
        (down, right), (rows, columns) = self.cells, self.window
        split = windows.reshape(-1, down, right, rows, columns, windows.shape[-1]).transpose(2, 3)
        return split.flatten(3, 4).flatten(1, 2)[:, : self.size[0], : self.size[1]]

    def inside(self) -> Bool[Tensor, "windows t"]:
        """Which positions of each window lie inside the image."""
        return self.split(torch.ones(1, *self.size, 1))[0, :, :, 0] > 0
