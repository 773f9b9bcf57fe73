"""FMViT: convolutional blocks, then blocks that mix frequencies, in each stage."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from searchspaces.architecture import Layers
from searchspaces.blocks.classifier import Classifier
from searchspaces.blocks.convolutional_fusion import ConvolutionalFusion
from searchspaces.blocks.convolutional_stem import ConvolutionalStem
from searchspaces.blocks.frequency_mixing import FrequencyMixing
from searchspaces.blocks.transition import Transition
from searchspaces.networks._role import Network, Signature, StageDepth, Width, elastic
from searchspaces.part import Part


class Stage(Part):
    """Convolutional fusion blocks, then frequency mixing blocks, at one width and size."""

    width: Width
    fusions: StageDepth
    """How many convolutional fusion blocks."""
    mixings: StageDepth
    """How many frequency mixing blocks behind them."""
    fusion: ConvolutionalFusion = ConvolutionalFusion()
    mixing: FrequencyMixing = FrequencyMixing()
    stride: Annotated[int, Field(ge=1, le=4)] = 2
    """Downsampling before the stage; the first stage follows the stem without."""
    shared: bool = False
    """Tie the decisions of the stage's blocks of one sort: one choice for all of them."""


class Fmvit(Network):
    """FMViT (Tan, Geng and Xie, 2023, arXiv:2311.05707): a pyramid of convolutional fusion and frequency mixing blocks.

    The stem's and the transitions' convolutions are this project's; the paper's text fixes neither. Everything
    but the transitions' normalization folds into single convolutions for inference.
    """

    halvings: Annotated[int, Field(ge=1)] = 2
    """Convolutions of stride 2 in the stem."""
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]

    def layers(self, signature: Signature) -> Layers:
        """[stem, (transition, fusion blocks, mixing blocks), ..., classifier]; no transition before the first stage."""
        stem = ConvolutionalStem.opened(width=self.stages[0].width, halvings=self.halvings, activation="relu")
        stages = (_stage(stage, first=index == 0) for index, stage in enumerate(self.stages))
        return (stem, *stages, Classifier(classes=signature.outputs))


def _stage(stage: Stage, first: bool) -> Layers:
    """The transition into a stage, if it is not the first, and its blocks."""
    fusions = elastic(stage.fusions, stage.fusion, stage.fusion, stage.shared)
    mixings = elastic(stage.mixings, stage.mixing, stage.mixing, stage.shared)
    transition = () if first else (Transition.opened(width=stage.width, stride=stage.stride),)
    return (*transition, fusions, mixings)
