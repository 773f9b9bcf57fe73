"""SynFlow (Tanaka et al., arXiv:2006.05467; summed over a network by Abdelfattah et al., arXiv:2101.08134)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictors.proxies._role import Proxy

if TYPE_CHECKING:
    from torch import nn

    from predictors.proxies._role import Batches


class Synflow(Proxy):
    """Synaptic flow: how much of an input of ones passes through the absolute weights; needs no data.

    Normalizations pass their input on, times their weight, as data would otherwise be needed. For activations other
    than ReLU the flow is what they let through of positive values.
    """

    def judged(self, network: nn.Module, batches: Batches) -> float:
        """sum_i | theta_i dR/dtheta_i | with R the sum of the outputs for absolute weights and an input of ones."""
        import torch

        network = network.double().eval()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.abs_()
            for module in network.modules():
                if isinstance(module, torch.nn.modules.batchnorm._NormBase) and module.track_running_stats:
                    module.reset_running_stats()
        ones = torch.ones_like(batches[0][0][:1], dtype=torch.float64)
        parameters = list(network.parameters())
        flow = network(ones).sum()
        gradients = torch.autograd.grad(flow, parameters, allow_unused=True, materialize_grads=True)
        return float(sum((p.detach() * g).abs().sum() for p, g in zip(parameters, gradients, strict=True)))
