"""Proxy: a score of an untrained network that costs a few batches instead of a training."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from searchspaces.part import Part

if TYPE_CHECKING:
    from torch import Tensor, nn

    Batches = Sequence[tuple[Tensor, Tensor]]


class Proxy(Part):
    """Judges networks without training. Greater is better; only the order means anything."""

    def score(self, network: nn.Module, batches: Batches) -> float:
        """The score of a network; the network stays as it is.

        Args:
            network: with freshly initialized parameters, for classification.
            batches: inputs [b *input_shape] with class numbers [b], two batches at least.

        Raises:
            ValueError: there are fewer than two batches, or of fewer than two samples.
        """
        import torch

        if len(batches) < 2 or any(len(targets) < 2 for _, targets in batches):
            raise ValueError("a proxy needs at least two batches of at least two samples")
        with torch.enable_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self.judged(copy.deepcopy(network).train().requires_grad_(), batches)

    @abstractmethod
    def judged(self, network: nn.Module, batches: Batches) -> float:
        """The score of a copy that may be changed, in training mode."""
