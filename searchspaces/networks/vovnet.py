"""VoVNet: convolutions aggregated once, for little memory access and energy."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from searchspaces.architecture import Layers
from searchspaces.blocks._convolution import Activation, OddKernel
from searchspaces.blocks.classifier import Classifier
from searchspaces.blocks.convolution import Convolution
from searchspaces.blocks.max_pooling import MaxPooling
from searchspaces.blocks.one_shot_aggregation import Aggregation, OneShotAggregation
from searchspaces.choice import Depth
from searchspaces.gates._role import Gate
from searchspaces.gates.none import NoGate
from searchspaces.networks._role import Network, Signature, StageDepth, Width, elastic
from searchspaces.part import Part
from searchspaces.quantization._role import QuantizationPolicy
from searchspaces.quantization.none import NoQuantization


class AggregationModule(Part):
    """What is elastic in a module."""

    inner: Width = 64
    convolutions: Annotated[int, Field(ge=1)] = 5
    kernel: OddKernel = 3
    aggregation: Aggregation = "one_shot"
    activation: Activation = "relu"
    gate: Gate = NoGate()
    """`effective_squeeze_excitation` makes VoVNetV2."""
    quantization: QuantizationPolicy = NoQuantization()


class Stage(Part):
    """Modules of one width."""

    depth: StageDepth = 1
    width: Width
    block: AggregationModule = AggregationModule()
    stride: Annotated[int, Field(ge=1)] = 2
    """Of the max pooling before the stage; the first stage follows the stem without."""
    residual: Annotated[bool, Field(strict=True)] = True
    """Add the input of each module but the first to its output."""
    shared: bool = False
    """Tie the decisions of the stage's modules: one choice for all of them."""


class VoVNet(Network):
    """Convolutional stem, stages of one-shot aggregation with max pooling between them, classifier (arXiv:1904.09730).

    VoVNet-27-slim of table 1: a stem of 3x3 convolutions with ReLU, 64 wide at stride 2, 64 and 128 at stride 2; stages
    of one module with inner widths 64, 80, 96, 112 and widths 128, 256, 384, 512. The classifier is this project's:
    normalization, mean over positions, linear layer; the published one has no normalization.
    """

    stem: tuple[Convolution, ...]
    stages: tuple[Stage, ...]

    def layers(self, signature: Signature) -> Layers:
        """[stem, (pooling, modules), ..., classifier]."""
        stages = (_stage(index, stage) for index, stage in enumerate(self.stages))
        return (*self.stem, *stages, Classifier(classes=signature.outputs))


def _stage(index: int, stage: Stage) -> Layers:
    """Max pooling, then the first `depth` modules."""
    fields = {"width": stage.width, "residual": stage.residual, **dict(stage.block.items())}
    modules = elastic(stage.depth, OneShotAggregation.opened(**fields), stage.block, stage.shared)
    pooling = (MaxPooling.opened(kernel=3, stride=stage.stride),) if index else ()
    first = tuple(map(_without_residual, modules.items[:1]))
    return (*pooling, Depth(modules.count, (*first, *modules.items[1:])))


def _without_residual(module: Any) -> Any:
    """The module, never with a residual connection."""
    return type(module).opened(**{**dict(module.items()), "residual": False})
