"""Convolution by a kernel that its owner computes."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class GeneratedConvolution(nn.Module):
    """[b c *sizes] -> [b o *sizes]; zeros outside, the size kept, on one or two axes.

    A layer of its own and without weights, so that a quantization policy finds it and rounds the kernel at hand.
    """

    def __init__(self, groups: int = 1) -> None:
        super().__init__()
        self.groups = groups

    def forward(
        self, x: Float[Tensor, "b c *sizes"], weight: Float[Tensor, "o i *kernel"], bias: Float[Tensor, "o"]
    ) -> Float[Tensor, "b o *sizes"]:
        """The features convolved by a kernel of odd sizes."""
        convolve = F.conv1d if weight.ndim == 3 else F.conv2d
        padding = [size // 2 for size in weight.shape[2:]]
        return convolve(x, weight, bias, padding=padding, groups=self.groups)
