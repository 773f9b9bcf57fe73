"""Block: one link of the chain that a network is."""

from __future__ import annotations

from abc import abstractmethod

from torch import nn

from searchspaces.part import Part, Shape
from searchspaces.quantization._role import QuantizationPolicy
from searchspaces.quantization.none import NoQuantization


class Block(Part):
    """A layer of a network: stem, residual block, transition, head. It may change the shape."""

    quantization: QuantizationPolicy = NoQuantization()

    @abstractmethod
    def build(self, shape: Shape) -> nn.Module:
        """The module for samples of this shape, with freshly initialized parameters, not quantized."""

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of one output sample; the input's unless a block says otherwise."""
        return shape

    def fitted(self, shape: Shape, current: Shape) -> Block:
        """The block that stands behind an input of a graph, for an older output beside the current one.

        Args:
            shape: of one sample of the output that it reads.
            current: of one sample of the current output.

        Returns:
            The block itself, unless it adapts to how the two differ.
        """
        return self
