"""Modules that read several values."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn


class Join(nn.Module):
    """Makes one value of several of the same shape; of one alone as if it were all of them, so that it can be measured.

    Args:
        inputs: how many.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.inputs = inputs

    def forward(self, *values: Tensor) -> Tensor:
        """The joined value [b ...] of values [b *shape]."""
        return self.joined(values if len(values) > 1 else values * self.inputs)

    @abstractmethod
    def joined(self, values: tuple[Tensor, ...]) -> Tensor:
        """The value of that many others."""
