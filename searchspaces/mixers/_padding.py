"""What stands outside of the image where a convolution reaches beyond its border."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

Padding = Literal["zeros", "partial", "reflect", "replicate", "circular"]
"""`partial` re-weights zero padding by the share of the window that lies inside; the others continue the image."""


class PaddedConvolution(nn.Conv2d):
    """[b c h w] -> [b d h w]; a convolution that keeps the size, with a choice of padding.

    `partial` is partial convolution based padding (Liu et al., 2018, arXiv:1811.11718):
    y = (w * x) r + b, with zeros outside and r the taps of the window over those of its taps that lie inside.
    The other modes hold for any size, unlike torch's: an image smaller than the padding is continued periodically.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: tuple[int, int],
        dilation: tuple[int, int] = (1, 1),
        groups: int = 1,
        padding: Padding = "zeros",
    ) -> None:
        margin = (dilation[0] * (kernel[0] // 2), dilation[1] * (kernel[1] // 2))
        super().__init__(inputs, outputs, kernel, 1, margin, dilation, groups)
        self.border = padding

    def _conv_forward(
        self,
        input: Float[Tensor, "b c h w"],
        weight: Float[Tensor, "d e k l"],
        bias: Float[Tensor, "d"] | None,
    ) -> Float[Tensor, "b d h w"]:
        """The convolution with given weights; the hook that fake quantization shares with torch's own layers."""
        if self.border == "zeros":
            return super()._conv_forward(input, weight, bias)
        if self.border == "partial":
            convolved = super()._conv_forward(input, weight, None) * self._ratio(input)
            return convolved if bias is None else convolved + bias[:, None, None]
        for axis, margin in ((2, self.padding[0]), (3, self.padding[1])):
            places = _continued(input.shape[axis], int(margin), self.border, input.device)
            input = input.index_select(axis, places)
        return F.conv2d(input, weight, bias, 1, 0, self.dilation, self.groups)

    def _ratio(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "h w"]:
        """Taps of the window over taps inside the image; a product of one factor per axis."""
        sizes = zip(x.shape[2:], self.kernel_size, self.dilation, strict=True)
        down, right = (_coverage(*axis, like=x) for axis in sizes)
        return torch.outer(down, right)


def _coverage(size: int, kernel: int, dilation: int, like: Tensor) -> Float[Tensor, "size"]:
    """For each position along an axis: taps over taps inside."""
    reach = dilation * (torch.arange(kernel, device=like.device) - kernel // 2)
    places = torch.arange(size, device=like.device)[:, None] + reach
    return kernel / ((places >= 0) & (places < size)).sum(1).to(like.dtype)


def _continued(size: int, margin: int, border: str, device: torch.device) -> Int[Tensor, "padded"]:
    """The position inside that stands at each position from -margin to size + margin - 1."""
    places = torch.arange(-margin, size + margin, device=device)
    if border == "replicate":
        return places.clamp(0, size - 1)
    if border == "circular":
        return places.remainder(size)
    period = max(2 * (size - 1), 1)
    folded = places.remainder(period)
    return torch.minimum(folded, period - folded) if size > 1 else folded
