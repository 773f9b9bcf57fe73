"""Floating point throughout."""

from __future__ import annotations

from torch import nn

from searchspaces.quantization._role import QuantizationPolicy


class NoQuantization(QuantizationPolicy):
    """32-bit floating point weights and activations."""

    @property
    def integer(self) -> bool:
        """False: nothing is quantized."""
        return False

    def prepare(self, module: nn.Module) -> nn.Module:
        """The module as it is."""
        return module
