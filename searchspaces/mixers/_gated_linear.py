"""Gated linear unit over channels."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn


class GatedLinear(nn.Module):
    """[b t c] -> [b t d]; value(x) * sigmoid(gate(x)) (Dauphin et al., 2017, arXiv:1612.08083, eq. 1)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.value = nn.Linear(inputs, outputs)
        self.gate = nn.Linear(inputs, outputs)

    def forward(self, tokens: Float[Tensor, "b t c"]) -> Float[Tensor, "b t d"]:
        """The gated features."""
        return self.value(tokens) * self.gate(tokens).sigmoid()
