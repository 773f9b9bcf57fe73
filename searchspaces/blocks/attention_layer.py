"""The first half of a transformer's layer."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import nn

from searchspaces.blocks._residual import ResidualBranch, TokenNorm
from searchspaces.blocks._role import Block
from searchspaces.mixers.attention import SelfAttention
from searchspaces.part import Shape

Count = Annotated[int, Field(ge=0)]
Epsilon = Annotated[float, Field(gt=0, lt=1)]


class AttentionLayer(Block):
    """x + attention(norm(x)) over all tokens (ViT, arXiv:2010.11929, equation 2); without heads the identity.

    Inner channels count heads slowest, so that fewer heads are the leading ones. Keys have no bias, which a softmax
    over keys takes away again: a trained network's key biases can be left out without any change.
    """

    heads: Count = 4
    head_width: Annotated[int, Field(ge=1)] = 16
    epsilon: Epsilon = 1e-5
    """Of the layer normalization."""

    def build(self, shape: Shape) -> nn.Module:
        """The layer for tokens [b c t 1]."""
        if self.heads == 0:
            return nn.Identity()
        attention = SelfAttention(shape[0], self.heads, self.head_width)
        return ResidualBranch(TokenNorm(shape[0], self.epsilon), attention, nn.Identity(), nn.Identity())
