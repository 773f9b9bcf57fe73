"""ZiCo (Li et al., arXiv:2301.11300)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictors.proxies._role import Proxy

if TYPE_CHECKING:
    from torch import nn

    from predictors.proxies._role import Batches


class Zico(Proxy):
    """Large gradients that change little from batch to batch, over the weights of convolutions and linear layers."""

    def judged(self, network: nn.Module, batches: Batches) -> float:
        """sum_l log sum_w E|dL/dw| / sqrt(Var |dL/dw|), over batches; those whose gradients do not vary left out."""
        import torch

        from predictors.proxies._gradients import loss_gradients

        found = [loss_gradients(network, *batch) for batch in batches]
        score = 0.0
        for name, parameter in network.named_parameters():
            if parameter.dim() < 2:
                continue
            sizes = torch.stack([gradients[name].abs().double() for gradients in found])
            deviation = sizes.std(dim=0, correction=0)
            ratios = (sizes.mean(dim=0) / deviation)[deviation > 0]
            score += float(ratios.sum().log()) if len(ratios) else 0.0
        return score
