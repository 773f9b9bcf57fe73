"""The block of SReT: one transformer block applied several times, its attention sliced into groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.blocks._role import Block
from searchspaces.mixers._window import Positive
from searchspaces.part import Shape


class RecursiveTransformer(Block):
    """z <- P_r(B(z)) for r = 1 ... recursions, with one block B and projections P_r of their own (Shen et al., 2021).

    Sliced Recursive Transformer, arXiv:2111.05297, section 3, with the authors' implementation where the text leaves a
    question:

    - B is a pre-normalized transformer block, attention then a perceptron, whose branches have learnable coefficients:
      z <- a z + b f(LN(z)), all of them 1 at first; they belong to B and are the same in each recursion.
    - P_r is the non-linear projection z <- a z + b MLP(LN(z)), without which the recursion would pass the same weights
      the same kind of features again. At a hidden width of 0 there is none, and recursions cost no parameters at all.
    - In recursion r the attention is confined to `groups[r - 1]` equal slices of the sequence. The first recursion cuts
      it into runs of neighbours. The others permute the positions before and back behind, so that groups meet:
      position t goes to group t mod groups. The paper draws a permutation at random in each pass, after which a
      network's output would depend on chance.

    A sequence that the groups do not divide is padded; padded keys are masked. Groups are never more than positions.
    Keys have no bias: it would add the same to all scores of a query, which the softmax takes away again.
    """

    heads: Positive = 2
    head_width: Positive = 32
    ratio: Annotated[float, Field(gt=0)] = 3.6
    """Hidden channels of the block's perceptron over its channels, rounded down."""
    projection: Annotated[float, Field(ge=0)] = 1.0
    """Hidden channels of each projection over its channels; 0 for no projection."""
    groups: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1, 1)
    """For each recursion, into how many groups the attention is sliced."""

    def build(self, shape: Shape) -> nn.Module:
        """The block for [b c h w] features of this size."""
        channels, positions = shape[0], shape[1] * shape[2]
        projections = [_perceptron(channels, self.projection) for _ in self.groups if self.projection]
        return TransformerLoop(
            LearnedResidual(channels, SlicedAttention(channels, positions, self.heads, self.head_width, self.groups)),
            _perceptron(channels, self.ratio),
            projections,
            len(self.groups),
        )


def _perceptron(channels: int, ratio: float) -> LearnedResidual:
    """A perceptron in its residual branch."""
    hidden = max(1, int(channels * ratio))
    layers = (nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, channels))
    return LearnedResidual(channels, nn.Sequential(*layers))


class TransformerLoop(nn.Module):
    """[b c h w] -> [b c h w]; the same attention and perceptron in each recursion, and a projection of its own."""

    def __init__(
        self, attention: nn.Module, perceptron: nn.Module, projections: Sequence[nn.Module], recursions: int
    ) -> None:
        super().__init__()
        self.attention, self.perceptron = attention, perceptron
        self.projections = nn.ModuleList(projections)
        self.recursions = recursions

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The features after all recursions."""
        tokens = x.flatten(2).transpose(1, 2)
        for recursion in range(self.recursions):
            tokens = self.perceptron(self.attention(tokens, recursion))
            if self.projections:
                tokens = self.projections[recursion](tokens)
        return tokens.transpose(1, 2).reshape(x.shape)


class LearnedResidual(nn.Module):
    """a x + b branch(norm(x)) with learned coefficients a and b, layer normalization over the channels."""

    def __init__(self, channels: int, branch: nn.Module) -> None:
        super().__init__()
        self.norm, self.branch = nn.LayerNorm(channels, eps=1e-6), branch
        self.shortcut, self.scale = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))

    def forward(self, x: Float[Tensor, "b t c"], *recursion: int) -> Float[Tensor, "b t c"]:
        """The features, changed by the branch, which is told the number of the recursion if it asks."""
        return self.shortcut * x + self.scale * self.branch(self.norm(x), *recursion)


class SlicedAttention(nn.Module):
    """[b t c] -> [b t c]; softmax(q k^T / sqrt(d)) v among the positions of each group, per head.

    Args:
        channels: of the sequence.
        positions: in the sequence.
        heads: leading ones are shared with fewer heads.
        head_width: channels of one head.
        groups: into how many the sequence is sliced, by recursion.
    """

    def __init__(self, channels: int, positions: int, heads: int, head_width: int, groups: tuple[int, ...]) -> None:
        super().__init__()
        self.heads, self.positions = heads, positions
        self.lengths = [-(-positions // count) for count in groups]
        self.query = nn.Linear(channels, heads * head_width)
        self.key = nn.Linear(channels, heads * head_width, bias=False)
        self.value = nn.Linear(channels, heads * head_width)
        self.output = nn.Linear(heads * head_width, channels)
        for recursion in range(len(groups)):
            self.register_buffer(f"inside{recursion}", self._inside(recursion), persistent=False)

    def forward(self, x: Float[Tensor, "b t c"], recursion: int) -> Float[Tensor, "b t c"]:
        """The attended values of one recursion, projected back to the channels."""
        query, key, value = (self._sliced(role(x), recursion) for role in (self.query, self.key, self.value))
        mixed = F.scaled_dot_product_attention(query, key, value, getattr(self, f"inside{recursion}"))
        return self.output(self._joined(mixed, recursion))

    def _inside(self, recursion: int) -> Bool[Tensor, "1 gn 1 l"] | None:
        """Which positions of each group and head are none of the padding; None if all."""
        length = self.lengths[recursion]
        count = -(-self.positions // length)
        inside = torch.arange(count * length) < self.positions
        slices = inside.view(length, count).T if recursion else inside.view(count, length)
        return None if self.positions == count * length else slices.repeat_interleave(self.heads, 0)[None, :, None]

    def _sliced(self, x: Float[Tensor, "b t nd"], recursion: int) -> Float[Tensor, "b gn l d"]:
        """Padded positions by group and head, both on the second axis."""
        length = self.lengths[recursion]
        count = -(-self.positions // length)
        padded = F.pad(x, (0, 0, 0, count * length - self.positions)).unflatten(2, (self.heads, -1))
        if recursion:
            return padded.unflatten(1, (length, count)).permute(0, 2, 3, 1, 4).flatten(1, 2)
        return padded.unflatten(1, (count, length)).permute(0, 1, 3, 2, 4).flatten(1, 2)

    def _joined(self, x: Float[Tensor, "b gn l d"], recursion: int) -> Float[Tensor, "b t nd"]:
        """The inverse of `_sliced`, without the padding."""
        split = x.unflatten(1, (-1, self.heads))
        ordered = split.permute(0, 3, 1, 2, 4) if recursion else split.permute(0, 1, 3, 2, 4)
        return ordered.flatten(3).flatten(1, 2)[:, : self.positions]
