"""SNIP (Lee et al., arXiv:1810.02340; summed over a network by Abdelfattah et al., arXiv:2101.08134)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictors.proxies._role import Proxy

if TYPE_CHECKING:
    from torch import nn

    from predictors.proxies._role import Batches


class Snip(Proxy):
    """How much the loss would change, to first order, if single parameters were removed; summed over all."""

    def judged(self, network: nn.Module, batches: Batches) -> float:
        """sum_i | theta_i dL/dtheta_i |"""
        from predictors.proxies._gradients import loss_gradients

        gradients, parameters = loss_gradients(network, *batches[0]), dict(network.named_parameters())
        return float(sum((parameters[name].detach() * gradient).abs().sum() for name, gradient in gradients.items()))
