"""Residual dilated convolutions over time, in linear time."""

from __future__ import annotations

from typing import Annotated, ClassVar

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import Odd, Positive
from searchspaces.part import Shape


class Bytenet(TokenMixer):
    """ByteNet: residual blocks of dilated, masked convolutions (Kalchbrenner et al., 2016, arXiv:1610.10099).

    Section 3: one block a dilation, x + W_2 f(w *_r f(W_1 f(x))), with f(x) = relu(LN(x)) and half the width inside.
    Dilations double within a set, and `causal` masks what comes later, as in the decoder; without it this is the
    encoder's. The receptive field is 1 + sum of (kernel - 1) dilation.
    """

    spatial_ranks: ClassVar[tuple[int, ...]] = (1,)
    kernel: Odd = 3
    dilations: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1, 2, 4, 8, 16)
    causal: bool = Field(default=True, strict=True)

    def build(self, shape: Shape) -> nn.Module:
        """The blocks for shape[0] channels, at any length."""
        return ResidualDilations(shape[0], self.kernel, self.dilations, self.causal)


class ResidualDilations(nn.Module):
    """[b c t] -> [b c t]; one residual block for each dilation."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...], causal: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(DilatedResidual(channels, kernel, dilation, causal) for dilation in dilations)

    def forward(self, x: Float[Tensor, "b c t"]) -> Float[Tensor, "b c t"]:
        """The features after all blocks."""
        tokens = x.transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens.transpose(1, 2)


class DilatedResidual(nn.Module):
    """[b t c] -> [b t c]; the input and a dilated convolution of half its width."""

    def __init__(self, channels: int, kernel: int, dilation: int, causal: bool) -> None:
        super().__init__()
        hidden, reach = max(1, channels // 2), dilation * (kernel - 1)
        self.margins = (reach, 0) if causal else (reach // 2, reach // 2)
        self.input_norm, self.reduce = nn.LayerNorm(channels), nn.Linear(channels, hidden)
        self.hidden_norm, self.convolution = nn.LayerNorm(hidden), nn.Conv1d(hidden, hidden, kernel, dilation=dilation)
        self.output_norm, self.expand = nn.LayerNorm(hidden), nn.Linear(hidden, channels)

    def forward(self, tokens: Float[Tensor, "b t c"]) -> Float[Tensor, "b t c"]:
        """The residual branch added to its input."""
        reduced = self.reduce(F.relu(self.input_norm(tokens)))
        padded = F.pad(F.relu(self.hidden_norm(reduced)).transpose(1, 2), self.margins)
        convolved = self.convolution(padded).transpose(1, 2)
        return tokens + self.expand(F.relu(self.output_norm(convolved)))
