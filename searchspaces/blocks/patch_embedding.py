"""The stem of an isotropic or hierarchical network: image to patches."""

from __future__ import annotations

import math
from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.blocks._convolution import ACTIVATIONS, Activation
from searchspaces.blocks._role import Block
from searchspaces.part import Shape


class PatchEmbedding(Block):
    """A strided convolution that turns each patch into one vector (ViT, arXiv:2010.11929), overlapping by `overlap`.

    An image whose size is no multiple of the patch is padded with zeros on the right and below. Patches may be as small
    as single pixels (Wang et al., 2025, arXiv:2502.03738); without overlap these know nothing of their place, nor does
    attention of them.

    A smaller patch takes the centre of a larger one's kernel, whatever the overlaps: each tap keeps its place from the
    patch's centre, in pixels of the same image (half a pixel off between odd and even patches), so what it has learned
    of edges and strokes stays true. The smaller sum is scaled anew by the normalization behind it, whose statistics
    are each architecture's own. FlexiViT (arXiv:2212.08013) resizes the kernel with the patch instead.
    """

    patch: Annotated[int, Field(ge=1)] = 2
    width: Annotated[int, Field(ge=1)]
    overlap: Annotated[int, Field(ge=0)] = 1
    """Pixels by which the convolution reaches beyond the patch on each side."""
    activation: Activation = "none"

    def build(self, shape: Shape) -> nn.Module:
        """The stem for [b c h w] images."""
        activation = ACTIVATIONS[self.activation]()
        return PatchConvolution(shape[0], self.width, self.patch, self.overlap, activation)

    def output_shape(self, shape: Shape) -> Shape:
        """One vector a patch."""
        return (self.width, *(math.ceil(size / self.patch) for size in shape[1:]))


class PatchConvolution(nn.Module):
    """Convolution of kernel patch + 2 overlap and stride patch, normalization, activation."""

    def __init__(self, channels: int, width: int, patch: int, overlap: int, activation: nn.Module) -> None:
        super().__init__()
        self.patch = patch
        self.projection = nn.Conv2d(channels, width, patch + 2 * overlap, patch, overlap, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.activation = activation

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b width h2 w2"]:
        """Patch vectors on their grid."""
        bottom, right = -x.shape[2] % self.patch, -x.shape[3] % self.patch
        padded = F.pad(x, (0, right, 0, bottom)) if bottom or right else x
        return self.activation(self.norm(self.projection(padded)))
