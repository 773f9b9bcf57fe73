"""Small networks that the hardware tests measure."""

from __future__ import annotations

from torch import Tensor, nn

from hardware.timing import TimingSettings
from searchspaces.architecture import Architecture
from searchspaces.blocks._role import Block
from searchspaces.blocks.channel_mixing import ChannelMixing
from searchspaces.blocks.classifier import Classifier
from searchspaces.blocks.inverted_bottleneck import InvertedBottleneck
from searchspaces.blocks.patch_embedding import PatchEmbedding
from searchspaces.blocks.resize import Resize
from searchspaces.blocks.token_mixing import TokenMixing
from searchspaces.blocks.transition import Transition
from searchspaces.channel_mixers.mlp import Mlp
from searchspaces.mixers.attention import Attention
from searchspaces.mixers.depthwise import Depthwise
from searchspaces.part import Shape
from searchspaces.quantization.integer import Integer

INPUT: Shape = (3, 9, 9)
BRIEF = TimingSettings(block_ms=0.1, warmup_ms=1.0, visits=2, visit_ms=0.5, rounds=1, repeats=0, energy_ms=0.0)
INT8 = Integer()

FLOAT = Architecture(
    INPUT,
    (
        PatchEmbedding(patch=2, width=16),
        (TokenMixing(mixer=Attention(heads=2, head_width=8)), ChannelMixing(mixer=Mlp(ratio=2.0))),
        Transition(width=24),
        (TokenMixing(mixer=Depthwise(kernel=3)), ChannelMixing(mixer=Mlp(ratio=2.0))),
        Classifier(classes=10),
    ),
)
MIXED = Architecture(
    INPUT,
    (
        PatchEmbedding(patch=2, width=16),
        (
            TokenMixing(mixer=Attention(heads=2, head_width=8), quantization=INT8),
            ChannelMixing(mixer=Mlp(ratio=2.0), quantization=INT8),
        ),
        Transition(width=24),
        (TokenMixing(mixer=Depthwise(kernel=3)), ChannelMixing(mixer=Mlp(ratio=2.0), quantization=INT8)),
        Classifier(classes=10),
    ),
)
SAME_SIZE = Architecture(INPUT, (Resize(resolution=9),))
CONVOLUTIONAL = Architecture(INPUT, (InvertedBottleneck(width=8, stride=2), Classifier(classes=4)))


class Untranslatable(Block):
    """A block whose operator ONNX does not have."""

    def build(self, shape: Shape) -> nn.Module:
        """An eigenvalue problem."""
        return Eigenvalues()


class Eigenvalues(nn.Module):
    """x plus the largest eigenvalue of x x^T."""

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        import torch

        return x + torch.linalg.eigvalsh(x @ x.transpose(-1, -2)).amax()
