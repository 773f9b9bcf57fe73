"""Jacobian covariance (Mellor et al., arXiv:2006.04647v1; used by Abdelfattah et al., arXiv:2101.08134)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictors.proxies._role import Proxy

if TYPE_CHECKING:
    from torch import nn

    from predictors.proxies._role import Batches

_SHIFT = 1e-5


class JacobCov(Proxy):
    """How little the network's linear maps at the samples of a batch correlate."""

    def judged(self, network: nn.Module, batches: Batches) -> float:
        """-sum_i (log(s_i + k) + 1 / (s_i + k)), s the eigenvalues of the correlations of the samples' Jacobians."""
        import torch

        inputs = batches[0][0].clone().requires_grad_()
        (jacobian,) = torch.autograd.grad(network(inputs).sum(), inputs)
        eigenvalues = torch.linalg.eigvalsh(torch.corrcoef(jacobian.flatten(1).double())) + _SHIFT
        return float(-(eigenvalues.log() + 1 / eigenvalues).sum())
