"""LeViT: a convolutional stem, then attention over maps that shrink."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from searchspaces.architecture import Layers
from searchspaces.blocks.classifier import Classifier
from searchspaces.blocks.convolutional_stem import ConvolutionalStem
from searchspaces.blocks.levit_attention import LevitAttention, Positive
from searchspaces.blocks.levit_mlp import LevitMlp
from searchspaces.blocks.shrinking_attention import ShrinkingAttention
from searchspaces.networks._role import Network, Signature, StageDepth, Width, elastic
from searchspaces.part import Part
from searchspaces.quantization._role import QuantizationPolicy
from searchspaces.quantization.none import NoQuantization


class LevitBlock(Part):
    """What is elastic in a block: attention and perceptron, with one quantization policy for both."""

    heads: Positive = 4
    key_width: Positive = 16
    value_ratio: Positive = 2
    ratio: Annotated[float, Field(gt=0)] = 2.0
    quantization: QuantizationPolicy = NoQuantization()

    def halves(self) -> tuple[LevitAttention, LevitMlp]:
        """The two residual blocks that this is."""
        attention = {name: getattr(self, name) for name in ("heads", "key_width", "value_ratio", "quantization")}
        return LevitAttention.opened(**attention), LevitMlp.opened(ratio=self.ratio, quantization=self.quantization)


class Shrinking(Part):
    """What is elastic in the transition into a stage."""

    heads: Positive | None = None
    """Without it the channels before the transition over the key width, as published."""
    key_width: Positive = 16
    value_ratio: Positive = 4
    ratio: Annotated[float, Field(gt=0)] = 2.0
    quantization: QuantizationPolicy = NoQuantization()


class Stage(Part):
    """Blocks at one width and size."""

    depth: StageDepth
    width: Width
    block: LevitBlock = LevitBlock()
    shrink: Shrinking = Shrinking()
    """Before the stage; the first stage follows the stem without."""
    shared: bool = False
    """Tie the decisions of the stage's blocks: one choice for all of them."""


class Levit(Network):
    """LeViT (Graham et al., 2021, arXiv:2104.01136, figure 3): stem, stages of biased attention, average, classifier.

    LeViT-128S is `halvings: 4` and stages of depths 2, 3, 4, widths 128, 256, 384 and 4, 6, 8 heads, with key width 16.
    Left out is what belongs to training: the second classifier for distillation, and stochastic depth. The classifier
    normalizes before the average, the paper after it. Normalizations follow convolutions directly, so that runtimes
    fold them.
    """

    halvings: Annotated[int, Field(ge=1)] = 4
    """Convolutions of stride 2 in the stem."""
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]

    def layers(self, signature: Signature) -> Layers:
        """[stem, blocks, (shrinking attention, perceptron, blocks), ..., classifier]."""
        stem = ConvolutionalStem.opened(width=self.stages[0].width, halvings=self.halvings)
        stages = (_stage(stage, first=index == 0) for index, stage in enumerate(self.stages))
        return (stem, *stages, Classifier(classes=signature.outputs))


def _stage(stage: Stage, first: bool) -> Layers:
    """The transition into a stage, if it is not the first, and its blocks."""
    blocks = elastic(stage.depth, stage.block.halves(), stage.block, stage.shared)
    if first:
        return (blocks,)
    values = dict(stage.shrink.items())
    perceptron = LevitMlp.opened(ratio=values.pop("ratio"), quantization=values["quantization"])
    return (ShrinkingAttention.opened(width=stage.width, **values), perceptron, blocks)
