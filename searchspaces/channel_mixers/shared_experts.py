"""Many small experts, of which each position uses a few, beside some that all use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn

from searchspaces.channel_mixers._experts import Expert, RoutedExperts
from searchspaces.channel_mixers._role import ChannelMixer
from searchspaces.part import Shape


class SharedExperts(ChannelMixer):
    """DeepSeekMoE (Dai et al., 2024, arXiv:2401.06066, section 3): sum over shared FFN_i(x) + sum_i g_i FFN_i(x).

    g_i is s_i for the `active` largest of s = softmax(W x) over the routed `experts`, zero for the others; those kept
    are not scaled to sum to one. `ratio` is the hidden width of all experts, routed and shared, over the channel count:
    more experts are finer ones. The `shared` ones are one perceptron of their joint width, which is the same function.
    In evaluation mode an expert computes only where it is used; the costs counted are those of all. Training adds the
    paper's expert-level balance loss (equations 12 to 14) to that of the task.
    """

    experts: Annotated[int, Field(ge=1, le=64, strict=True)] = 8
    active: Annotated[int, Field(ge=1, le=64, strict=True)] = 2
    """At most all."""
    shared: Annotated[int, Field(ge=0, le=16, strict=True)] = 1
    ratio: Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)] = 4.0
    activation: Literal["silu", "gelu", "relu"] = "silu"
    balance: Annotated[float, Field(ge=0, strict=True, allow_inf_nan=False)] = 0.01
    """The weight of the balance loss, the paper's in its smallest model (section 4.1.3); none at 0."""

    def build(self, shape: Shape) -> nn.Module:
        """The experts for shape[0] channels, at any size."""
        channels = shape[0]
        hidden = max(1, round(channels * self.ratio / (self.experts + self.shared)))
        routed = [Expert(channels, hidden, self.activation) for _ in range(self.experts)]
        router = TopRouter(channels, self.experts, min(self.active, self.experts), self.balance)
        mixture = TopExperts(router, routed)
        if not self.shared:
            return mixture
        return SharedAndRouted(Expert(channels, self.shared * hidden, self.activation), mixture)


class SharedAndRouted(nn.Module):
    """[b c h w] -> [b c h w]; the shared experts' output and the routed ones'."""

    def __init__(self, shared: nn.Module, routed: nn.Module) -> None:
        super().__init__()
        self.shared, self.routed = shared, routed

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Each position's features, transformed."""
        return self.shared(x) + self.routed(x)


class TopExperts(RoutedExperts):
    """Experts under a `TopRouter`."""


class TopRouter(nn.Module):
    """[b c h w] -> [b n h w]; the affinities of the experts that a position has most of, zero for the others."""

    def __init__(self, channels: int, experts: int, active: int, balance_weight: float = 0.0) -> None:
        super().__init__()
        self.active, self.balance_weight = active, balance_weight
        self.projection = nn.Conv2d(channels, experts, 1, bias=False)

    def affinities(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n h w"]:
        """The softmax over all experts."""
        return self.projection(x).softmax(1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n h w"]:
        """The largest affinities; equal ones enter together."""
        affinities = self.affinities(x)
        return torch.where(largest(affinities, self.active), affinities, torch.zeros_like(affinities))

    def auxiliary_losses(self, x: Float[Tensor, "b c h w"]) -> Iterator[Float[Tensor, ""]]:
        """The weighted balance loss."""
        if self.balance_weight:
            yield self.balance_weight * balance(self.affinities(x), self.active)


def largest(affinities: Float[Tensor, "b n h w"], active: int) -> Bool[Tensor, "b n h w"]:
    """Whether an affinity is among the largest of its position; equal ones are so together."""
    return affinities >= affinities.topk(active, 1).values[:, -1:]


def balance(affinities: Float[Tensor, "b n h w"], active: int) -> Float[Tensor, ""]:
    """sum_i f_i P_i (equations 12 to 14): 1 where all experts are used equally.

    f_i is the share of tokens that use expert i, times experts over active ones; P_i its mean affinity.
    """
    used = largest(affinities, active).to(affinities.dtype).mean((0, 2, 3))
    return (used / active * len(used) * affinities.mean((0, 2, 3))).sum()
