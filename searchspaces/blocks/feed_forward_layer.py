"""The second half of a transformer's layer."""

from __future__ import annotations

from typing import Literal

from torch import nn

from searchspaces.blocks._residual import ResidualBranch, TokenNorm
from searchspaces.blocks._role import Block
from searchspaces.blocks.attention_layer import Count, Epsilon
from searchspaces.channel_mixers.mlp import Perceptron
from searchspaces.part import Shape


class FeedForwardLayer(Block):
    """x + W2 f(W1 norm(x) + b1) + b2 at each token (ViT, arXiv:2010.11929, equation 3); the identity if none hidden."""

    hidden: Count = 64
    """Hidden channels."""
    activation: Literal["gelu", "relu", "silu", "hard_swish"] = "gelu"
    epsilon: Epsilon = 1e-5
    """Of the layer normalization."""

    def build(self, shape: Shape) -> nn.Module:
        """The layer for tokens [b c t 1]."""
        if self.hidden == 0:
            return nn.Identity()
        perceptron = Perceptron(shape[0], self.hidden, self.activation)
        return ResidualBranch(TokenNorm(shape[0], self.epsilon), perceptron, nn.Identity(), nn.Identity())
