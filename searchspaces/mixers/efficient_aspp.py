"""Atrous spatial pyramid pooling with bottlenecked, cascaded branches."""

from __future__ import annotations

from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.blocks._convolution import ConvolutionNorm, convolution_norm
from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import Odd, Positive
from searchspaces.part import Shape


class EfficientAspp(TokenMixer):
    """eASPP of AdapNet++ (Valada, Mohan, Burgard, 2019, arXiv:1808.03833, section 3).

    Branches side by side: a 1 x 1 convolution; for each rate a bottleneck with two 3 x 3 atrous convolutions of that
    rate in a row (twice the field of ASPP's one, at less than a tenth of the parameters); the mean of the image. Then
    a 1 x 1 convolution of all, here as the sum of one per branch, which is the same and keeps the branches apart where
    widths are shared. Each convolution is followed by normalization and ReLU; the image branch has a bias instead of
    normalization, since a single sample has no variance there. `reduction` is the width over the bottleneck's.
    """

    kernel: Odd = 3
    rates: Annotated[tuple[Positive, ...], Field(min_length=1)] = (3, 6, 12)
    reduction: Positive = 4

    def build(self, shape: Shape) -> nn.Module:
        """The pyramid for shape[0] channels, at any size."""
        return AtrousPyramid(shape[0], max(1, shape[0] // self.reduction), self.kernel, self.rates)


class AtrousPyramid(nn.Module):
    """[b c h w] -> [b c h w]; features of all rates and of the whole image, fused."""

    def __init__(self, channels: int, hidden: int, kernel: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.pointwise = convolution_norm(channels, channels, 1, activation="relu")
        self.atrous = nn.ModuleList(_cascade(channels, hidden, kernel, rate) for rate in rates)
        self.image = nn.Conv2d(channels, channels, 1)
        self.fusions = nn.ModuleList(nn.Conv2d(channels, channels, 1, bias=False) for _ in range(len(rates) + 2))
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The fused pyramid."""
        image = F.relu(self.image(x.mean((2, 3), keepdim=True)))
        branches = [image, self.pointwise(x), *(branch(x) for branch in self.atrous)]
        fused = [fusion(branch) for fusion, branch in zip(self.fusions, branches, strict=True)]
        return F.relu(self.norm(sum(fused[1:], start=fused[0])))


def _cascade(channels: int, hidden: int, kernel: int, rate: int) -> nn.Sequential:
    """Reduce, two atrous convolutions, expand."""
    return nn.Sequential(
        convolution_norm(channels, hidden, 1, activation="relu"),
        _atrous(hidden, kernel, rate),
        _atrous(hidden, kernel, rate),
        convolution_norm(hidden, channels, 1, activation="relu"),
    )


def _atrous(channels: int, kernel: int, rate: int) -> ConvolutionNorm:
    """A dilated convolution that keeps the size, normalization, ReLU."""
    convolution = nn.Conv2d(channels, channels, kernel, 1, rate * (kernel // 2), rate, bias=False)
    return ConvolutionNorm(convolution, nn.BatchNorm2d(channels), nn.ReLU())
