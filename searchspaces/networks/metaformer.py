"""MetaFormer: residual token mixing and channel mixing, whatever the mixers are."""

from __future__ import annotations

from typing import Any

from searchspaces.architecture import Layers
from searchspaces.blocks._convolution import Activation
from searchspaces.blocks._residual import Norm, Shortcut
from searchspaces.blocks.channel_mixing import ChannelMixing
from searchspaces.blocks.classifier import Classifier
from searchspaces.blocks.patch_embedding import PatchEmbedding
from searchspaces.blocks.token_mixing import TokenMixing
from searchspaces.blocks.transition import Transition
from searchspaces.channel_mixers._role import ChannelMixer
from searchspaces.gates._role import Gate
from searchspaces.gates.none import NoGate
from searchspaces.mixers._role import TokenMixer
from searchspaces.networks._role import Network, Signature, StageDepth, Width, elastic
from searchspaces.part import Part
from searchspaces.quantization._role import QuantizationPolicy
from searchspaces.quantization.none import NoQuantization


class MetaFormerBlock(Part):
    """Token mixing, then channel mixing; one quantization policy for both."""

    mixer: TokenMixer
    channel_mixer: ChannelMixer
    gate: Gate = NoGate()
    """Stands behind the token mixer."""
    norm: Norm = "batch"
    shortcut: Shortcut = "identity"
    """Runs beside the token mixer."""
    quantization: QuantizationPolicy = NoQuantization()

    def halves(self) -> tuple[Any, Any]:
        """The two residual blocks that this is."""
        shared = {"norm": self.norm, "quantization": self.quantization}
        return (
            TokenMixing.opened(mixer=self.mixer, gate=self.gate, shortcut=self.shortcut, **shared),
            ChannelMixing.opened(mixer=self.channel_mixer, **shared),
        )


class Stage(Part):
    """Blocks at one width and size."""

    depth: StageDepth
    width: Width | None = None
    """Channels; without it the stage keeps those before it."""
    block: MetaFormerBlock
    stride: int = 2
    """Downsampling before the stage; the first stage follows the stem without."""
    activation: Activation = "none"
    """Behind the transition into the stage."""
    shared: bool = False
    """Tie the decisions of the stage's blocks: one choice for all of them."""


class MetaFormer(Network):
    """Stem, stages of MetaFormer blocks with transitions between them, classifier (arXiv:2111.11418)."""

    stem: PatchEmbedding
    stages: tuple[Stage, ...]

    def layers(self, signature: Signature) -> Layers:
        """[stem, (transition, blocks), ..., classifier]."""
        stages = (self.stage(index, stage) for index, stage in enumerate(self.stages))
        return (self.stem, *stages, Classifier(classes=signature.outputs))

    def stage(self, index: int, stage: Stage) -> Layers:
        """A transition where the width or the size changes, then the blocks."""
        width = stage.width if stage.width is not None or index == 0 else self.width_before(index)
        stride = stage.stride if index else 1
        transition = Transition.opened(width=width, stride=stride, activation=stage.activation)
        blocks = elastic(stage.depth, stage.block.halves(), stage.block, stage.shared)
        return (blocks,) if width is None else (transition, blocks)

    def width_before(self, index: int) -> Any:
        """The width that reaches a stage: the nearest one named before it."""
        widths = [stage.width for stage in self.stages[:index] if stage.width is not None]
        return widths[-1] if widths else self.stem.width
