"""The number of parameters: the trivial proxy that others must beat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictors.proxies._role import Proxy

if TYPE_CHECKING:
    from torch import nn

    from predictors.proxies._role import Batches


class Parameters(Proxy):
    """How many parameters the network has."""

    def judged(self, network: nn.Module, batches: Batches) -> float:
        """Their number."""
        return float(sum(parameter.numel() for parameter in network.parameters()))
