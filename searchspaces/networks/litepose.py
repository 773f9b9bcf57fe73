"""LitePose: one branch with large kernels, and a head that climbs back to high resolution."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from searchspaces.architecture import Layers
from searchspaces.blocks._convolution import Activation, OddKernel
from searchspaces.blocks.classifier import Classifier
from searchspaces.blocks.convolution import Convolution
from searchspaces.blocks.deconvolution import Deconvolution
from searchspaces.blocks.heatmaps import Heatmaps
from searchspaces.blocks.inverted_bottleneck import InvertedBottleneck
from searchspaces.blocks.normalized_activation import NormalizedActivation
from searchspaces.blocks.resize import Resize
from searchspaces.choice import Depth
from searchspaces.lateral import Lateral
from searchspaces.networks._role import Network, Signature, StageDepth, Width, elastic
from searchspaces.part import Part
from searchspaces.quantization._role import QuantizationPolicy
from searchspaces.quantization.none import NoQuantization


class LargeKernelBlock(Part):
    """What is elastic in a block."""

    kernel: OddKernel = 7
    expansion: Annotated[float, Field(gt=0)] = 6.0
    quantization: QuantizationPolicy = NoQuantization()


class Stage(Part):
    """Inverted bottlenecks of one width; the first has the stride."""

    depth: StageDepth
    width: Width
    block: LargeKernelBlock = LargeKernelBlock()
    stride: Annotated[int, Field(ge=1, le=2)] = 2
    activation: Activation = "relu6"
    shared: bool = False
    """Tie the decisions of the stage's blocks: one choice for all of them."""


class LitePose(Network):
    """Stem, stages of inverted bottlenecks, fusion deconvolution head (Lite Pose, arXiv:2205.01271, section 4).

    Behind the last stage come as many deconvolutions as there are `deconvolutions`. The features of a deconvolution are

        u_i = relu(norm(deconvolution(u_(i-1)) + deconvolution(s_(n-i)))),    u_0 = s_n,

    s_j those of stage j and s_0 those of the stem: each resolution on the way up also reads what the same resolution
    had on the way down, without a branch that keeps it. The heat maps are final(u_d) + final(s_(n-d-1)). Both are
    a `Lateral` around the stages between, so that all blocks have a place of their own, and depths and widths are
    elastic.

    The paper's stem is a 3x3 convolution of stride 2 and 32 channels, a depthwise one and a linear layer; its stages
    have the strides 2, 2, 2, 1. It gives heat maps behind the second deconvolution (1/4 of the image) and behind the
    third (1/2), and averages the two when it is used; a network here has one output, that behind the last one. The
    task's outputs are maps (`heatmaps`), or logits from the mean of what the head would have read (`classifier`). Sizes
    must be such that halving and doubling give them back, which a multiple of all strides is.
    """

    resolution: Annotated[int, Field(ge=1)] | None = None
    stem: Convolution
    width: Width = 24
    """Behind the stem."""
    stages: tuple[Stage, ...]
    deconvolutions: tuple[Width, ...] = (16, 24)
    """Channels behind each."""
    head: Literal["classifier", "heatmaps"] = "classifier"

    def layers(self, signature: Signature) -> Layers:
        """[resize, stem, stages and deconvolutions, head].

        Raises:
            ValueError: there are too few stages for the deconvolutions and the head to read.
        """
        if len(self.deconvolutions) > len(self.stages) - (self.head == "heatmaps"):
            raise ValueError(f"{len(self.deconvolutions)} deconvolutions need more than {len(self.stages)} stages")
        resize = () if self.resolution is None else (Resize.opened(resolution=self.resolution),)
        reduction = InvertedBottleneck.opened(width=self.width, expansion=1.0, activation="relu6")
        classifier = (Classifier(classes=signature.outputs),) if self.head == "classifier" else ()
        return (*resize, self.stem, reduction, *self._from(0, signature.outputs), *classifier)

    def _from(self, stage: int, outputs: int) -> Layers:
        """What stands behind the features of a stage, up to the last layer that reads what is made of them."""
        count, deconvolutions = len(self.stages), len(self.deconvolutions)
        level = count - stage
        layers = (_stage(self.stages[stage]), *self._from(stage + 1, outputs)) if stage < count else ()
        if 1 <= level <= deconvolutions:
            up = Deconvolution.opened(width=self.deconvolutions[level - 1])
            return (Lateral.opened(block=up, layers=(*layers, up)), NormalizedActivation())
        if self.head == "heatmaps" and level == deconvolutions + 1:
            final = Heatmaps(maps=outputs)
            return (Lateral.opened(block=final, layers=(*layers, final)),)
        return layers


def _stage(stage: Stage) -> Any:
    """The first `depth` blocks; the first one has the stride."""
    fields = dict(stage.block.items())
    template = InvertedBottleneck.opened(width=stage.width, activation=stage.activation, **fields)
    depth = elastic(stage.depth, template, stage.block, stage.shared)
    first = tuple(type(block).opened(**{**dict(block.items()), "stride": stage.stride}) for block in depth.items[:1])
    return Depth(depth.count, (*first, *depth.items[1:]))
