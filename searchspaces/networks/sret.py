"""SReT: depth by recursion, at the price of computation but not of parameters."""

from __future__ import annotations

import itertools
from typing import Annotated, Any

from pydantic import Field

from searchspaces.architecture import Layers
from searchspaces.blocks.classifier import Classifier
from searchspaces.blocks.convolution import Convolution
from searchspaces.blocks.depthwise_transition import DepthwiseTransition
from searchspaces.blocks.position_embedding import PositionEmbedding
from searchspaces.blocks.recursive_transformer import RecursiveTransformer
from searchspaces.choice import Choice, Depth, overlap, variants
from searchspaces.mixers._window import Positive
from searchspaces.networks._role import Network, Signature, StageDepth, Width, elastic
from searchspaces.part import Part
from searchspaces.quantization._role import QuantizationPolicy
from searchspaces.quantization.none import NoQuantization


class RecursiveBlock(Part):
    """What is elastic in a block."""

    recursions: Positive = 2
    """How often the block is applied."""
    groups: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1,)
    """Into how many groups each recursion slices its attention; the last entry holds for all further ones."""
    heads: Positive = 2
    head_width: Positive = 32
    ratio: Annotated[float, Field(gt=0)] = 3.6
    projection: Annotated[float, Field(ge=0)] = 1.0
    quantization: QuantizationPolicy = NoQuantization()


class Stage(Part):
    """Blocks at one width and size."""

    depth: StageDepth
    """Blocks with weights of their own, each of which recurs."""
    width: Width | None = None
    """Channels; without it the stage keeps those before it."""
    block: RecursiveBlock = RecursiveBlock()
    stride: Annotated[int, Field(ge=1, le=4)] = 2
    """Downsampling before the stage; the first stage follows the stem without."""
    shared: bool = False
    """Tie the decisions of the stage's blocks: one choice for all of them."""


class SReT(Network):
    """Convolutional stem, positions, stages of recursive transformer blocks, classifier (arXiv:2111.05297).

    SReT-T: a stem of 3x3 convolutions with ReLU at stride 2, 32, 64 and 64 wide; 2, 5 and 3 blocks of two recursions at
    the widths 64, 128, 256 with 2, 4, 8 heads and groups (8, 2), (4, 1), (1, 1). The classifier is this project's, with
    batch normalization before the mean over positions where the paper has layer normalization behind it.
    """

    stem: tuple[Convolution, ...]
    stages: tuple[Stage, ...]

    def layers(self, signature: Signature) -> Layers:
        """[stem, positions, (transition, blocks), ..., classifier].

        Raises:
            ValueError: some of the groups to choose from are the same for as many recursions as there may be.
        """
        stages = (_stage(index, stage) for index, stage in enumerate(self.stages))
        return (*self.stem, PositionEmbedding(), *stages, Classifier(classes=signature.outputs))


def _stage(index: int, stage: Stage) -> Layers:
    """A transition where the width or the size changes, then the blocks."""
    fields = dict(stage.block.items())
    groups = _groups(fields.pop("recursions"), fields.pop("groups"))
    blocks = elastic(stage.depth, RecursiveTransformer.opened(groups=groups, **fields), stage.block, stage.shared)
    if index == 0 and stage.width is None:
        return (blocks,)
    return (DepthwiseTransition.opened(width=stage.width, stride=stage.stride if index else 1), blocks)


def _groups(recursions: Any, groups: Any) -> Any:
    """The groups of each recursion, open where the number of recursions or the groups are."""
    if not isinstance(groups, Choice):
        most = max(variants(recursions))
        items = (*groups, *groups[-1:] * (most - len(groups)))[:most]
        return Depth(recursions, items) if isinstance(recursions, Choice) else items
    for count, pair in itertools.product(variants(recursions), itertools.combinations(groups.options, 2)):
        if overlap(*(_groups(count, option) for option in pair)):
            raise ValueError(f"{groups.path}: options have their groups for {count} recursions in common")
    return Choice(groups.path, tuple(_groups(recursions, option) for option in groups.options))
