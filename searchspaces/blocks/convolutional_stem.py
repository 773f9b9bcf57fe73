"""A stem of small strided convolutions in place of one large patch."""

from __future__ import annotations

import math
from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from searchspaces.blocks._convolution import Activation, convolution_norm
from searchspaces.blocks._role import Block
from searchspaces.part import Shape


class ConvolutionalStem(Block):
    """`halvings` convolutions 3x3 of stride 2, each normalized, the width doubling up to `width`.

    LeViT's patch embedding (Graham et al., 2021, arXiv:2104.01136, section 3.2), there with four, after Xiao et al.
    (arXiv:2106.14881). The activation stands between them, not behind the last. Stems of other depths share the
    convolutions nearest to their end, whose widths are the same, and the one that reads the image.
    """

    width: Annotated[int, Field(ge=1)]
    halvings: Annotated[int, Field(ge=1)] = 4
    activation: Activation = "hardswish"

    def build(self, shape: Shape) -> nn.Module:
        """The stem for [b c h w] images."""
        widths = [max(1, self.width >> level) for level in range(self.halvings)]
        return HalvingConvolutions(shape[0], widths, self.activation)

    def output_shape(self, shape: Shape) -> Shape:
        """Sizes halved, rounded up, once for each convolution."""
        return (self.width, *(math.ceil(size / 2**self.halvings) for size in shape[1:]))


class HalvingConvolutions(nn.Module):
    """[b c h w] -> [b widths[0] h2 w2]; the widths are those of the layers from the last to the first."""

    def __init__(self, channels: int, widths: list[int], activation: Activation) -> None:
        super().__init__()
        kinds: list[Activation] = ["none", *[activation] * (len(widths) - 1)]
        self.image = convolution_norm(channels, widths[-1], 3, 2, activation=kinds[-1])
        self.backwards = nn.ModuleList(
            convolution_norm(before, width, 3, 2, activation=kind)
            for width, before, kind in zip(widths, widths[1:], kinds, strict=False)
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        """Features of a small map."""
        x = self.image(x)
        for layer in reversed(self.backwards):
            x = layer(x)
        return x
