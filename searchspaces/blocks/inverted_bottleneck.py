"""The block of MobileNetV2 and V3, and of the Once-for-All space."""

from __future__ import annotations

import math
from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from searchspaces.blocks._convolution import Activation, OddKernel, convolution_norm
from searchspaces.blocks._role import Block
from searchspaces.gates._role import Gate
from searchspaces.gates.none import NoGate
from searchspaces.part import Shape


class InvertedBottleneck(Block):
    """Expand, depthwise convolution, gate, project, with a shortcut where the shape stays.

    MobileNetV2 (arXiv:1801.04381, figure 3) with the gate's place of MobileNetV3 (arXiv:1905.02244, figure 4).
    """

    width: Annotated[int, Field(ge=1)]
    kernel: OddKernel = 3
    expansion: Annotated[float, Field(gt=0)] = 4.0
    """Hidden channels over input channels; at 1 there is no expanding convolution."""
    stride: Annotated[int, Field(ge=1)] = 1
    activation: Activation = "hardswish"
    gate: Gate = NoGate()

    def build(self, shape: Shape) -> nn.Module:
        """The block for [b c h w] features."""
        channels, act = shape[0], self.activation
        hidden = max(1, round(channels * self.expansion))
        inner = (hidden, *self.output_shape(shape)[1:])
        return InvertedResidual(
            convolution_norm(channels, hidden, 1, activation=act) if self.expansion != 1 else nn.Identity(),
            convolution_norm(hidden, hidden, self.kernel, self.stride, hidden, act),
            self.gate.build(inner),
            convolution_norm(hidden, self.width, 1),
            shortcut=self.stride == 1 and channels == self.width,
        )

    def output_shape(self, shape: Shape) -> Shape:
        """Sizes divided by the stride, rounded up."""
        return (self.width, *(math.ceil(size / self.stride) for size in shape[1:]))


class InvertedResidual(nn.Module):
    """project(gate(depthwise(expand(x)))), plus x where there is a shortcut."""

    def __init__(
        self, expand: nn.Module, depthwise: nn.Module, gate: nn.Module, project: nn.Module, shortcut: bool
    ) -> None:
        super().__init__()
        self.expand, self.depthwise, self.gate, self.project = expand, depthwise, gate, project
        self.shortcut = shortcut

    def hidden_axes(self) -> dict[str, int]:
        """See `searchspaces.sorting.Sortable`."""
        gate_axes = dict if isinstance(self.gate, nn.Identity) else getattr(self.gate, "channel_axes", None)
        if isinstance(self.expand, nn.Identity) or gate_axes is None:
            return {}
        made = ("convolution.weight", "norm.weight", "norm.bias")
        inner = {f"{part}.{name}": 0 for part in ("expand", "depthwise") for name in made}
        gate = {f"gate.{name}": axis for name, axis in gate_axes().items()}
        return {"project.convolution.weight": 1, **inner, **gate}

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        """Features of the block's width and stride."""
        y = self.project(self.gate(self.depthwise(self.expand(x))))
        return x + y if self.shortcut else y
