"""The stem of a transformer: an image or a sequence to tokens."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.blocks._role import Block
from searchspaces.blocks.position_embedding import PositionTable
from searchspaces.part import Shape


class TokenEmbedding(Block):
    """A vector for each patch plus one for its place, and a class token first (ViT, arXiv:2010.11929, equation 1).

    The tokens stand in one column, [b width tokens 1]. An input whose size is no multiple of the patch is padded with
    zeros at its end. Another patch takes the centre of the largest one's kernel and the positions of its own grid.
    """

    patch: Annotated[int, Field(ge=1)] = 2
    width: Annotated[int, Field(ge=1)]
    class_token: bool = True

    def build(self, shape: Shape) -> nn.Module:
        """The stem for images [b c h w], or for sequences [b c t] of frames, of exactly this size."""
        kernel = (self.patch, self.patch if len(shape) == 3 else 1)
        return PatchTokens(shape[0], self.width, kernel, self._grid(shape), self.class_token)

    def output_shape(self, shape: Shape) -> Shape:
        """One vector a token."""
        return (self.width, math.prod(self._grid(shape)) + self.class_token, 1)

    def _grid(self, shape: Shape) -> tuple[int, int]:
        """Patches along each axis; those of a sequence are a column."""
        patches = [math.ceil(size / self.patch) for size in shape[1:]]
        return patches[0], patches[1] if len(patches) == 2 else 1


class PatchTokens(nn.Module):
    """[b c h w] or [b c t] -> [b width tokens 1].

    The class token and its position are one vector, `first`: only their sum is ever used.
    """

    first: nn.Parameter | None

    def __init__(
        self, channels: int, width: int, kernel: tuple[int, int], grid: tuple[int, int], class_token: bool
    ) -> None:
        super().__init__()
        self.kernel = kernel
        self.projection = nn.Conv2d(channels, width, kernel, kernel)
        self.positions = PositionTable(width, *grid)
        first = nn.Parameter(torch.empty(width)) if class_token else None
        self.register_parameter("first", first)
        if first is not None:
            nn.init.trunc_normal_(first, std=0.02, a=-0.04, b=0.04)

    def forward(self, x: Float[Tensor, "b c *positions"]) -> Float[Tensor, "b width tokens 1"]:
        """The tokens, the class token first if there is one."""
        image = x if x.ndim == 4 else x.unsqueeze(3)
        bottom, right = -image.shape[2] % self.kernel[0], -image.shape[3] % self.kernel[1]
        padded = F.pad(image, (0, right, 0, bottom)) if bottom or right else image
        tokens = self.positions(self.projection(padded)).flatten(2)
        if self.first is not None:
            tokens = torch.cat([self.first[:, None].expand(x.shape[0], -1, -1), tokens], 2)
        return tokens.unsqueeze(3)
