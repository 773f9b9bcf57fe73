"""Gradients of the loss, parameter by parameter."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def loss_gradients(network: nn.Module, inputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Gradients of the mean cross-entropy by parameter name; zero where the loss does not depend on one."""
    names, parameters = zip(*network.named_parameters(), strict=True)
    loss = F.cross_entropy(network(inputs), targets)
    found = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    return dict(zip(names, found, strict=True))
