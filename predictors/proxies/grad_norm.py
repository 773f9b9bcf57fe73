"""Gradient norm (Abdelfattah et al., "Zero-cost proxies for lightweight NAS", arXiv:2101.08134, section 3.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictors.proxies._role import Proxy

if TYPE_CHECKING:
    from torch import nn

    from predictors.proxies._role import Batches


class GradNorm(Proxy):
    """Sum over the parameters' Euclidean gradient norms after one batch."""

    def judged(self, network: nn.Module, batches: Batches) -> float:
        """sum_l || dL/dtheta_l ||_2"""
        from predictors.proxies._gradients import loss_gradients

        return float(sum(gradient.norm() for gradient in loss_gradients(network, *batches[0]).values()))
