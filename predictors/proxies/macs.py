"""The number of multiply-accumulates: the trivial proxy that others must beat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictors.proxies._role import Proxy

if TYPE_CHECKING:
    from torch import nn

    from predictors.proxies._role import Batches


class Macs(Proxy):
    """How many multiply-accumulates one sample takes."""

    def judged(self, network: nn.Module, batches: Batches) -> float:
        """Their number, counted on the executed graph."""
        from searchspaces.cost import module_cost

        return float(module_cost(network, tuple(batches[0][0].shape[1:])).macs)
