"""Small perceptrons of which each position uses some."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class RoutedExperts(nn.Module):
    """[b c h w] -> [b c h w]; the experts' outputs, weighted by the router, [b c h w] -> [b n h w].

    Training and export compute every expert everywhere. In evaluation mode an expert computes the positions where its
    weight is not zero, with the same outputs. Each kind of mixer has a class of its own, so that experts which learn
    under different routers are not shared.
    """

    def __init__(self, router: nn.Module, experts: list[Expert]) -> None:
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
