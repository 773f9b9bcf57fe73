"""Small experts, of which each position uses those that its router does not silence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.channel_mixers._experts import Expert, RoutedExperts
from searchspaces.channel_mixers._role import ChannelMixer
from searchspaces.part import Shape


class BlockFfn(ChannelMixer):
    """BlockFFN (Song et al., 2025, arXiv:2507.08771, section 3.1): sum_i A_i(x) W2_i f(W1_i x).

    The router is A = RMSNorm(relu(W x)) over the experts: differentiable, and free in how many experts a position uses.
    `ratio` is the hidden width of all `experts` together over the channel count; they have no gate of their own and no
    biases. Training and export compute every expert; in evaluation mode an expert computes only the positions where its
    weight is not zero, with the same outputs. The costs counted are those of all experts. Training adds the paper's
    losses for tokens that follow each other, `activation_locality` and `chunk_sparsification`; positions of an image
    do so row by row. Weights and chunk are those of the authors' trainings, without the schedule that adapts them.
    """

    experts: Annotated[int, Field(ge=1, le=64, strict=True)] = 8
    ratio: Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)] = 4.0
    activation: Literal["silu", "gelu", "relu"] = "silu"
    locality: Annotated[float, Field(ge=0, strict=True, allow_inf_nan=False)] = 0.002
    """The weight of the loss by which neighbors use the same experts; none at 0."""
    sparsification: Annotated[float, Field(ge=0, strict=True, allow_inf_nan=False)] = 0.05
    """The weight of the loss by which a chunk uses few experts; none at 0."""
    chunk: Annotated[int, Field(ge=1, strict=True)] = 64
    """Positions in a chunk."""

    def build(self, shape: Shape) -> nn.Module:
        """The experts for shape[0] channels, at any size."""
        hidden = max(1, round(shape[0] * self.ratio / self.experts))
        router = ReluRouter(shape[0], self.experts, self.locality, self.sparsification, self.chunk)
        return ReluExperts(router, [Expert(shape[0], hidden, self.activation) for _ in range(self.experts)])


class ReluExperts(RoutedExperts):
    """Experts under a `ReluRouter`."""


class ReluRouter(nn.Module):
    """[b c h w] -> [b n h w]; a weight of at least zero for each expert, times its learned factor."""

    def __init__(
        self,
        channels: int,
        experts: int,
        locality_weight: float = 0.0,
        sparsification_weight: float = 0.0,
        chunk: int = 64,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        self.locality_weight, self.sparsification_weight = locality_weight, sparsification_weight
        self.chunk, self.eps = chunk, eps
        self.projection = nn.Conv2d(channels, experts, 1, bias=False)
        self.factor = nn.Parameter(torch.ones(experts))

    def scores(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n h w"]:
        """What the router computes before its non-linearity."""
        return self.projection(x)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n h w"]:
        """RMSNorm(relu(scores)) over the experts."""
        active = F.relu(self.scores(x))
        norm = active.square().mean(1, keepdim=True).add(self.eps).rsqrt()
        return active * norm * self.factor[:, None, None]

    def auxiliary_losses(self, x: Float[Tensor, "b c h w"]) -> Iterator[Float[Tensor, ""]]:
        """Weighted activation locality and chunk sparsification."""
        if not (self.locality_weight or self.sparsification_weight):
            return
        scores = self.scores(x).flatten(2)
        if self.locality_weight:
            yield self.locality_weight * activation_locality(scores)
        if self.sparsification_weight:
            yield self.sparsification_weight * chunk_sparsification(F.relu(scores), self.chunk)


def activation_locality(scores: Float[Tensor, "b n t"], sharpness: float = 100.0) -> Float[Tensor, ""]:
    """How differently neighboring tokens activate the experts (section 3.2).

    The mean binary cross-entropy between sigmoid(sharpness * score) of each token and of the one behind it, scores
    before the ReLU; zero for a single token.
    """
    if scores.shape[2] < 2:
        return scores.sum() * 0
    logits, targets = sharpness * scores[..., :-1], torch.sigmoid(sharpness * scores[..., 1:])
    return F.binary_cross_entropy_with_logits(logits, targets)


def chunk_sparsification(weights: Float[Tensor, "b n t"], chunk: int = 64) -> Float[Tensor, ""]:
    """The mean probability that some token of a chunk activates an expert (section 3.2).

    1 - prod over the chunk of (1 - p), p the token's weights (at least zero) over their sum. A last chunk may be
    shorter.
    """
    probabilities = weights / (weights.sum(1, keepdim=True) + 1e-5)
    padded = F.pad(probabilities, (0, -weights.shape[2] % chunk))
    return 1 - (1 - padded.unflatten(2, (-1, chunk))).prod(3).mean()
