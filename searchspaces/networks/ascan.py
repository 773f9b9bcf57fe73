"""AsCAN: convolutional blocks, then transformer blocks, in an asymmetric share that changes from stage to stage."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from searchspaces.architecture import Layers
from searchspaces.blocks._convolution import Activation, OddKernel
from searchspaces.blocks._residual import Norm
from searchspaces.blocks.channel_mixing import ChannelMixing
from searchspaces.blocks.classifier import Classifier
from searchspaces.blocks.convolutional_stem import ConvolutionalStem
from searchspaces.blocks.inverted_bottleneck import InvertedBottleneck
from searchspaces.blocks.token_mixing import TokenMixing
from searchspaces.channel_mixers.mlp import Mlp
from searchspaces.choice import Choice, Depth, variants
from searchspaces.faults import DescriptionError, Fault
from searchspaces.gates._role import Gate
from searchspaces.gates.squeeze_excitation import SqueezeExcitation
from searchspaces.mixers.attention import Attention
from searchspaces.networks._role import Network, Signature, Width, elastic
from searchspaces.part import Part
from searchspaces.quantization._role import QuantizationPolicy
from searchspaces.quantization.none import NoQuantization

Positive = Annotated[int, Field(ge=1)]


class Convolution(Part):
    """What is elastic in a convolutional block, an inverted bottleneck with squeeze-and-excitation."""

    kernel: OddKernel = 3
    expansion: Annotated[float, Field(gt=0)] = 4.0
    gate: Gate = SqueezeExcitation()
    activation: Activation = "gelu"
    quantization: QuantizationPolicy = NoQuantization()


class Transformer(Part):
    """What is elastic in a transformer block: attention between all positions, then a perceptron."""

    heads: Positive = 4
    head_width: Positive = 16
    ratio: Annotated[float, Field(gt=0)] = 4.0
    norm: Norm = "token"
    quantization: QuantizationPolicy = NoQuantization()

    def halves(self) -> tuple[Any, Any]:
        """The two residual blocks that this is."""
        shared = {"norm": self.norm, "quantization": self.quantization}
        return (
            TokenMixing.opened(mixer=Attention.opened(heads=self.heads, head_width=self.head_width), **shared),
            ChannelMixing.opened(mixer=Mlp.opened(ratio=self.ratio, activation="gelu"), **shared),
        )


class Stage(Part):
    """`depth` blocks at one width and size: first the convolutional ones, the first of which has the stride."""

    depth: Positive
    convolutions: Positive
    """How many of the blocks are convolutional, at least the first and at most `depth`; the others attend."""
    width: Width
    convolution: Convolution = Convolution()
    transformer: Transformer = Transformer()
    stride: Positive = 2


class Ascan(Network):
    """AsCAN (Kag et al., 2024, arXiv:2411.04967): stem, stages of convolutions before transformers, classifier.

    The pattern C C C | C C T | C T T is the stages' `depth: 3` and `convolutions` 3, 2, 1: more convolution early,
    more attention late. Attention is the plain one, as in the paper, which finds its variants no faster. Taken as the
    convolutional block, from the paper's description: MobileNet's inverted bottleneck with squeeze-and-excitation.
    """

    stem: ConvolutionalStem
    stages: tuple[Stage, ...]

    def layers(self, signature: Signature) -> Layers:
        """[stem, stages, classifier].

        Raises:
            DescriptionError: a stage may have more convolutions than blocks.
        """
        stages = (_stage(index, stage) for index, stage in enumerate(self.stages))
        return (self.stem, *stages, Classifier(classes=signature.outputs))


def _stage(index: int, stage: Stage) -> Depth:
    """A stage's blocks.

    The first places, which every depth has, hold the convolutions and the transformers that take the place of those
    that are not chosen: both counts belong to one decision. They form the first item; the items behind it are empty up
    to the most convolutions, and then transformers, of which the depth decides.
    """
    most, least = max(variants(stage.convolutions)), min(variants(stage.depth))
    if most > least:
        message = f"up to {most} convolutions do not fit into {least} blocks"
        raise DescriptionError([Fault(("stages", index, "convolutions"), message)])
    deepest = max(variants(stage.depth))
    instead = most - min(variants(stage.convolutions))
    convolutions = elastic(stage.convolutions, _bottleneck(stage), stage.convolution)
    transformers = elastic(deepest - most + instead, stage.transformer.halves(), stage.transformer).items
    head = (_strided(convolutions, stage.stride), Depth(_rest(stage.convolutions, most), transformers[:instead]))
    return Depth(stage.depth, (head, *[()] * (most - 1), *transformers[instead:]))


def _bottleneck(stage: Stage) -> InvertedBottleneck:
    """A stage's convolutional block."""
    return InvertedBottleneck.opened(width=stage.width, stride=1, **dict(stage.convolution.items()))


def _strided(blocks: Depth, stride: int) -> Depth:
    """The blocks, the first with a stride."""
    first, *others = blocks.items
    return Depth(blocks.count, (type(first).opened(**{**dict(first.items()), "stride": stride}), *others))


def _rest(count: int | Choice, total: int) -> int | Choice:
    """What a count leaves of a total, by the same decision."""
    if isinstance(count, Choice):
        return Choice(count.path, tuple(total - option for option in count.options))
    return total - count
