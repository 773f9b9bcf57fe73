"""Binary tree whose leaves are small perceptrons; deployed, each position goes to one of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from searchspaces.channel_mixers._experts import Expert, RoutedExperts
from searchspaces.channel_mixers._role import ChannelMixer
from searchspaces.part import Shape


class FastFeedforward(ChannelMixer):
    """Fast feedforward network (FFF: Belcak and Wattenhofer, 2023, arXiv:2308.14711, section 2).

    Each of 2^depth - 1 nodes decides by sigmoid(w x + b) between left and right. While it is trained the output is that
    of all leaves, each weighted with the product of the decisions on its path; deployed, decisions are rounded and each
    position has one leaf, so that time is logarithmic in the width. `ratio` is the hidden width of all leaves together
    over the channel count. Training adds the paper's loss against the difference, the entropy of the decisions (whose
    weight, as far as remembered, was 3 for networks of one layer and 0.1 in transformers); here also the decisions move
    linearly to the rounded ones (gradients straight through), where they are for calibration and tuning. Leaves are
    numbered with the first decision in the lowest bit, so that a leaf of a shallower tree is its leftmost
    descendant in a deeper one; they have no biases. Nodes are single neurons, as in the paper's experiments. Deployed
    decisions are steps: where rounding to integers carries one over, that position goes to another leaf.
    """

    depth: Annotated[int, Field(ge=1, le=6, strict=True)] = 2
    ratio: Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)] = 4.0
    activation: Literal["silu", "gelu", "relu"] = "gelu"
    hardening: Annotated[float, Field(ge=0, strict=True, allow_inf_nan=False)] = 0.1
    """The weight of the hardening loss; none at 0."""

    def build(self, shape: Shape) -> nn.Module:
        """The tree for shape[0] channels, at any size."""
        leaves = 2**self.depth
        hidden = max(1, round(shape[0] * self.ratio / leaves))
        experts = [Expert(shape[0], hidden, self.activation) for _ in range(leaves)]
        return TreeLeaves(TreeRouter(shape[0], self.depth, self.hardening), experts)


class TreeLeaves(RoutedExperts):
    """Experts under a `TreeRouter`."""


class TreeRouter(nn.Module):
    """[b c h w] -> [b 2^depth h w]; the weight of each leaf, one of them alone in evaluation mode."""

    softness: Tensor

    def __init__(self, channels: int, depth: int, hardening_weight: float = 0.0) -> None:
        super().__init__()
        self.depth, self.hardening_weight = depth, hardening_weight
        self.register_buffer("softness", torch.zeros(()), persistent=False)
        self.nodes = nn.Conv2d(channels, 2**depth - 1, 1)

    def progress(self, fraction: float) -> None:
        """Sets how soft decisions are when this fraction of a training is done; a new router is as at the end."""
        self.softness.fill_(1 - fraction)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b l h w"]:
        """The product of the decisions on the way to each leaf."""
        right = self._decisions(self.nodes(x).sigmoid())
        weights = torch.ones_like(x[:, :1])
        for level in range(self.depth):
            own = right[:, 2**level - 1 : 2 ** (level + 1) - 1]
            weights = torch.cat([weights * (1 - own), weights * own], 1)
        return weights

    def _decisions(self, right: Float[Tensor, "b n h w"]) -> Float[Tensor, "b n h w"]:
        """How far each node sends each position to the right, all or nothing in the end."""
        rounded = (right >= 0.5).to(right.dtype)
        if not self.training:
            return rounded
        return torch.lerp(rounded + (right - right.detach()), right, self.softness)

    def auxiliary_losses(self, x: Float[Tensor, "b c h w"]) -> Iterator[Float[Tensor, ""]]:
        """The weighted hardening loss."""
        if self.hardening_weight:
            yield self.hardening_weight * decision_entropy(self.nodes(x))


def decision_entropy(logits: Float[Tensor, "b n h w"]) -> Float[Tensor, ""]:
    """The mean over positions of the entropy of all nodes' decisions, summed over nodes, in nats."""
    return nn.functional.binary_cross_entropy_with_logits(logits, logits.sigmoid()) * logits.shape[1]
