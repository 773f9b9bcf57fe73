"""MobileNetV3-like networks: the Once-for-All space."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from searchspaces.architecture import Layers
from searchspaces.blocks._convolution import Activation, OddKernel
from searchspaces.blocks.classifier import Classifier
from searchspaces.blocks.convolution import Convolution
from searchspaces.blocks.inverted_bottleneck import InvertedBottleneck
from searchspaces.blocks.resize import Resize
from searchspaces.choice import Depth
from searchspaces.gates._role import Gate
from searchspaces.gates.none import NoGate
from searchspaces.networks._role import Network, Signature, StageDepth, Width, elastic
from searchspaces.part import Part
from searchspaces.quantization._role import QuantizationPolicy
from searchspaces.quantization.none import NoQuantization


class Bottleneck(Part):
    """What is elastic in a block."""

    kernel: OddKernel = 3
    expansion: Annotated[float, Field(gt=0)] = 4.0
    gate: Gate = NoGate()
    quantization: QuantizationPolicy = NoQuantization()


class Stage(Part):
    """Blocks of one width; the first has the stride."""

    depth: StageDepth
    width: Width
    block: Bottleneck = Bottleneck()
    stride: Annotated[int, Field(ge=1)] = 2
    activation: Activation = "hardswish"
    shared: bool = False
    """Tie the decisions of the stage's blocks: one choice for all of them."""


class MobileNet(Network):
    """Stem, stages of inverted bottlenecks, head (Once-for-All, arXiv:1908.09791, section 3.1)."""

    resolution: Annotated[int, Field(ge=1)] | None = None
    stem: Convolution
    stages: tuple[Stage, ...]
    head: Width | None = None
    """Width of a pointwise convolution before the classifier."""

    def layers(self, signature: Signature) -> Layers:
        """[resize, stem, blocks of each stage, head, classifier]."""
        resize = () if self.resolution is None else (Resize.opened(resolution=self.resolution),)
        head = () if self.head is None else (Convolution.opened(width=self.head, kernel=1),)
        return (*resize, self.stem, *map(_stage, self.stages), *head, Classifier(classes=signature.outputs))


def _stage(stage: Stage) -> Depth:
    """The first `depth` blocks; the first one has the stride."""
    fields = dict(stage.block.items())
    template = InvertedBottleneck.opened(width=stage.width, activation=stage.activation, **fields)
    depth = elastic(stage.depth, template, stage.block, stage.shared)
    return Depth(depth.count, (_strided(depth.items[0], stage.stride), *depth.items[1:]) if depth.items else ())


def _strided(block: Any, stride: int) -> Any:
    """The block with another stride."""
    return type(block).opened(**{**dict(block.items()), "stride": stride})
