"""The module of VoVNet: a chain of convolutions whose outputs are aggregated once; and its rivals at equal depth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from searchspaces.blocks._convolution import ACTIVATIONS, Activation, ConvolutionNorm, OddKernel
from searchspaces.blocks._role import Block
from searchspaces.gates._role import Gate
from searchspaces.gates.none import NoGate
from searchspaces.mixers._fusion import convolution_of, folded
from searchspaces.part import Shape

Aggregation = Literal["one_shot", "dense", "residual"]


class OneShotAggregation(Block):
    """Convolutions y_1 ... y_n of the input y_0 and a pointwise aggregation of them (Lee et al., 2019).

    VoVNet, arXiv:1904.09730, figure 1 and section 3.1. `aggregation` says who reads what:

    - one_shot: y_i reads y_(i-1), the aggregation reads y_0 ... y_n (figure 1b);
    - dense: y_i reads y_0 ... y_(i-1), the aggregation too (figure 1a, DenseNet's block and the transition after it);
    - residual: y_(i-1) is added to what y_i computes from it, for i > 1, and the aggregation reads y_n.

    To differ in nothing else, all three have convolution, normalization and activation in this order. The gate and the
    residual connection, which is there where the width stays, are those of VoVNetV2 (arXiv:1911.06667, figure 2).

    Whoever reads several features has a convolution for each, and adds: that is one convolution of their concatenation,
    and becomes it in the inference form. In the weight of that one convolution the channels of y_i would stand at
    places that depend on all widths before; apart, each narrower or shorter module takes leading slices.
    """

    width: Annotated[int, Field(ge=1)]
    inner: Annotated[int, Field(ge=1)] = 64
    """Channels of each y_i."""
    convolutions: Annotated[int, Field(ge=1)] = 5
    kernel: OddKernel = 3
    aggregation: Aggregation = "one_shot"
    activation: Activation = "relu"
    gate: Gate = NoGate()
    residual: Annotated[bool, Field(strict=True)] = False

    def build(self, shape: Shape) -> nn.Module:
        """The module for [b c h w] features."""
        widths = [shape[0]] + [self.inner] * self.convolutions
        count, dense = self.convolutions, self.aggregation == "dense"
        layers = [
            self._layer(widths, range(index) if dense else [index - 1], self.inner, self.kernel)
            for index in range(1, count + 1)
        ]
        read = [count] if self.aggregation == "residual" else range(count + 1)
        return AggregatedConvolutions(
            layers,
            self._layer(widths, read, self.width, 1),
            self.gate.build(self.output_shape(shape)),
            additive=self.aggregation == "residual",
            shortcut=self.residual and shape[0] == self.width,
        )

    def _layer(self, widths: Sequence[int], sources: Iterable[int], width: int, kernel: int) -> JointConvolution:
        """A layer that reads some of the features, whose widths are given."""
        convolutions: dict[str, nn.Module] = {
            str(source): nn.Conv2d(widths[source], width, kernel, padding=kernel // 2, bias=False) for source in sources
        }
        return JointConvolution(convolutions, nn.BatchNorm2d(width), ACTIVATIONS[self.activation]())

    def output_shape(self, shape: Shape) -> Shape:
        """The aggregation's width; sizes stay."""
        return (self.width, *shape[1:])


class AggregatedConvolutions(nn.Module):
    """gate(aggregate(y_0 ... y_n)), plus y_0 where there is a shortcut."""

    def __init__(
        self, layers: Sequence[nn.Module], aggregate: nn.Module, gate: nn.Module, additive: bool, shortcut: bool
    ) -> None:
        super().__init__()
        self.layers, self.aggregate, self.gate = nn.ModuleList(layers), aggregate, gate
        self.additive, self.shortcut = additive, shortcut

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h w"]:
        """Features of the aggregation's width."""
        features = [x]
        for layer in self.layers:
            y = layer(features)
            features.append(y + features[-1] if self.additive and len(features) > 1 else y)
        aggregated = self.gate(self.aggregate(features))
        return aggregated + x if self.shortcut else aggregated


class JointConvolution(nn.Module):
    """activation(norm(sum of convolutions)), one convolution for each of the features that are read.

    Args:
        convolutions: without bias, by the number of the feature.
        norm: batch normalization of the sum.
        activation: behind it.
    """

    def __init__(self, convolutions: dict[str, nn.Module], norm: nn.BatchNorm2d, activation: nn.Module) -> None:
        super().__init__()
        self.convolutions = nn.ModuleDict(convolutions)
        self.norm, self.activation = norm, activation

    def forward(self, features: list[Float[Tensor, "b _ h w"]]) -> Float[Tensor, "b c h w"]:
        """What is computed from the features that are read."""
        read = [convolution(features[int(source)]) for source, convolution in self.convolutions.items()]
        return self.activation(self.norm(sum(read[1:], read[0])))

    @torch.no_grad()
    def fuse(self) -> nn.Module:
        """The same function in evaluation mode as one convolution of the concatenated features."""
        weight = torch.cat([convolution.get_parameter("weight") for convolution in self.convolutions.values()], 1)
        joint = convolution_of(weight, torch.zeros_like(weight[:, 0, 0, 0]))
        sources = [int(source) for source in self.convolutions]
        return ConcatenatedConvolution(
            sources, convolution_of(*folded(ConvolutionNorm(joint, self.norm, nn.Identity()))), self.activation
        )


class ConcatenatedConvolution(nn.Module):
    """activation(convolution(concatenation of the features that are read))."""

    def __init__(self, sources: list[int], convolution: nn.Module, activation: nn.Module) -> None:
        super().__init__()
        self.sources, self.convolution, self.activation = sources, convolution, activation

    def forward(self, features: list[Float[Tensor, "b _ h w"]]) -> Float[Tensor, "b c h w"]:
        """What is computed from the features that are read."""
        read = [features[source] for source in self.sources]
        return self.activation(self.convolution(torch.cat(read, 1) if len(read) > 1 else read[0]))
