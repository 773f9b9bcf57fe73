"""Two-layer perceptron whose hidden features move by a position in all directions."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.channel_mixers._role import ChannelMixer
from searchspaces.part import Shape

STEPS = ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))
"""(down, right): to the four sides, then to the four corners."""


class EnhancedFfn(ChannelMixer):
    """Enhanced feed-forward network (EFFN, TCSR: Wu et al., 2023, arXiv:2303.14324): W2 shift(f(W1 x + b1)) + b2.

    The spatial shift has no parameters and no multiplications: hidden channel i takes the features of the neighboring
    position in direction i mod `directions`, 4 for the sides and 8 with the corners; zero outside. The direction thus
    stays with the channel at every width. The summary of the paper names the shift and not its groups, and the authors'
    repository holds no code: equal groups of hidden channels and one position a step are taken as its definition, as
    in S2-MLP (arXiv:2106.07477).
    `ratio` is the hidden width over the channel count.
    """

    ratio: Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)] = 2.0
    directions: Literal[4, 8] = 8
    activation: Literal["gelu", "relu", "silu", "hard_swish"] = "gelu"

    def build(self, shape: Shape) -> nn.Module:
        """The perceptron for shape[0] channels, at any size."""
        return ShiftPerceptron(shape[0], max(1, round(shape[0] * self.ratio)), self.directions, self.activation)


class ShiftPerceptron(nn.Module):
    """[b c h w] -> [b c h w]; expansion, non-linearity, shift of each hidden channel, projection."""

    def __init__(self, channels: int, hidden: int, directions: int, activation: str) -> None:
        super().__init__()
        activations = {"gelu": nn.GELU, "relu": nn.ReLU, "silu": nn.SiLU, "hard_swish": nn.Hardswish}
        self.directions = directions
        self.expand = nn.Conv2d(channels, hidden, 1)
        self.activation = activations[activation]()
        self.project = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Each position's features, transformed together with its neighbors'."""
        return self.project(self._shift(self.activation(self.expand(x))))

    def _shift(self, x: Float[Tensor, "b e h w"]) -> Float[Tensor, "b e h w"]:
        """Every channel moved by a position in its direction; channels are padded to full rounds of directions."""
        height, width = x.shape[2:]
        padded = F.pad(x, (1, 1, 1, 1, 0, -x.shape[1] % self.directions))
        moved = [
            padded[:, index :: self.directions, 1 - down : 1 - down + height, 1 - right : 1 - right + width]
            for index, (down, right) in enumerate(STEPS[: self.directions])
        ]
        return torch.stack(moved, 2).flatten(1, 2)[:, : x.shape[1]]
