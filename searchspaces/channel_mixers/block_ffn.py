"""Small experts, of which each position uses those that its router does not silence."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.channel_mixers._role import ChannelMixer
from searchspaces.part import Shape


class BlockFfn(ChannelMixer):
    """BlockFFN (Song et al., 2025, arXiv:2507.08771, section 3.1): sum_i A_i(x) W2_i f(W1_i x).

    The router is A = RMSNorm(relu(W x)) over the experts: differentiable, and free in how many experts a position uses.
    `ratio` is the hidden width of all `experts` together over the channel count; they have no gate of their own and no
    biases. Training and export compute every expert; in evaluation mode an expert computes only the positions where its
    weight is not zero, with the same outputs. The costs counted are those of all experts. `activation_locality`
    and `chunk_sparsification` are the paper's training objectives for tokens that follow each other; positions
    of an image do so row by row. The adaptive weights of these losses are a schedule of training and left out.
    """

    experts: Annotated[int, Field(ge=1, le=64, strict=True)] = 8
    ratio: Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)] = 4.0
    activation: Literal["silu", "gelu", "relu"] = "silu"

    def build(self, shape: Shape) -> nn.Module:
        """The experts for shape[0] channels, at any size."""
        hidden = max(1, round(shape[0] * self.ratio / self.experts))
        router = ReluRouter(shape[0], self.experts)
        return RoutedExperts(router, [Expert(shape[0], hidden, self.activation) for _ in range(self.experts)])


class RoutedExperts(nn.Module):
    """[b c h w] -> [b c h w]; the experts' outputs, weighted by the router."""

    def __init__(self, router: ReluRouter, experts: list[Expert]) -> None:
        super().__init__()
        self.router = router
        self.experts = nn.ModuleList(experts)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Each position's features, transformed by the experts that it uses."""
        whole = self.training or x.is_meta or torch.compiler.is_compiling()
        return self.dense(x) if whole else self.sparse(x)

    def dense(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Every expert at every position."""
        weights = self.router(x)
        outputs = [weights[:, i : i + 1] * expert(x) for i, expert in enumerate(self.experts)]
        return torch.stack(outputs).sum(0)

    def sparse(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Each expert at the positions where its weight is not zero."""
        weights = self.router(x).movedim(1, 0).flatten(1)
        positions = x.movedim(1, 0).flatten(1)
        output = torch.zeros_like(positions)
        for weight, expert in zip(weights, self.experts, strict=True):
            used = weight.nonzero()[:, 0]
            if len(used):
                found = expert(positions[None, :, used, None])[0, :, :, 0]
                output = output.index_add(1, used, weight[used] * found)
        return output.unflatten(1, (x.shape[0], *x.shape[2:])).movedim(0, 1)

    def sparsity_losses(
        self, x: Float[Tensor, "b c h w"], chunk: int = 8, sharpness: float = 100.0
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Activation locality and chunk sparsification of this input, to be added to a training's loss."""
        scores = self.router.scores(x).flatten(2)
        return activation_locality(scores, sharpness), chunk_sparsification(F.relu(scores), chunk)


class ReluRouter(nn.Module):
    """[b c h w] -> [b n h w]; a weight of at least zero for each expert, times its learned factor."""

    def __init__(self, channels: int, experts: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
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


class Expert(nn.Module):
    """[b c h w] -> [b c h w]; two 1x1 convolutions with a non-linearity between, without biases."""

    def __init__(self, channels: int, hidden: int, activation: str) -> None:
        super().__init__()
        self.expand = nn.Conv2d(channels, hidden, 1, bias=False)
        self.activation = {"silu": nn.SiLU, "gelu": nn.GELU, "relu": nn.ReLU}[activation]()
        self.project = nn.Conv2d(hidden, channels, 1, bias=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Each position's features, transformed."""
        return self.project(self.activation(self.expand(x)))


def activation_locality(scores: Float[Tensor, "b n t"], sharpness: float = 100.0) -> Float[Tensor, ""]:
    """How differently neighboring tokens activate the experts (section 3.2).

    The mean binary cross-entropy between sigmoid(sharpness * score) of each token and of the one behind it, scores
    before the ReLU; zero for a single token.
    """
    if scores.shape[2] < 2:
        return scores.sum() * 0
    logits, targets = sharpness * scores[..., :-1], torch.sigmoid(sharpness * scores[..., 1:])
    return F.binary_cross_entropy_with_logits(logits, targets)


def chunk_sparsification(weights: Float[Tensor, "b n t"], chunk: int = 8) -> Float[Tensor, ""]:
    """The mean probability that some token of a chunk activates an expert (section 3.2).

    1 - prod over the chunk of (1 - p), p the token's weights (at least zero) over their sum. A last chunk may be
    shorter.
    """
    probabilities = weights / (weights.sum(1, keepdim=True) + 1e-5)
    padded = F.pad(probabilities, (0, -weights.shape[2] % chunk))
    return 1 - (1 - padded.unflatten(2, (-1, chunk))).prod(3).mean()
