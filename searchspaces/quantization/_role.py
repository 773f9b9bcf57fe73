"""QuantizationPolicy: with how many bits a block computes."""

from __future__ import annotations

from abc import abstractmethod

from torch import nn

from searchspaces.part import Part


class QuantizationPolicy(Part):
    """Turns a float block into its fake-quantized twin for search and training.

    Fake quantization tells the quality only; what a quantized block costs is measured on its deployed form.
    """

    @property
    def integer(self) -> bool:
        """Whether the deployed block computes in integers."""
        return True

    @property
    def stored_bits(self) -> int:
        """Bits of one stored weight."""
        return 32

    @abstractmethod
    def prepare(self, module: nn.Module) -> nn.Module:
        """The module, changed in place so that its convolutions and linear layers compute with this policy.

        Parameters keep their names and meaning: a block shares its float weights across policies.
        """
