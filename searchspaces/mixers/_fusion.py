"""Linear layers in a row or side by side, as the kernel of one convolution."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.blocks._convolution import ConvolutionNorm


def folded(branch: ConvolutionNorm) -> tuple[Float[Tensor, "o i k l"], Float[Tensor, "o"]]:
    """Kernel and bias of a convolution without bias and the batch normalization after it, in evaluation mode."""
    convolution, norm = branch.convolution, branch.norm
    assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    assert norm.running_var is not None and norm.running_mean is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return convolution.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale


def embedded(weight: Float[Tensor, "o i k k"], dilation: int, size: int) -> Float[Tensor, "o i l l"]:
    """A dilated kernel as the centre of a dense one of the given size, zeros between its taps."""
    reach = dilation * (weight.shape[2] - 1) + 1
    spread = weight.new_zeros(*weight.shape[:2], reach, reach)
    spread[:, :, ::dilation, ::dilation] = weight
    return F.pad(spread, [(size - reach) // 2] * 4)


@torch.no_grad()
def convolution_of(weight: Tensor, bias: Tensor, groups: int = 1) -> nn.Conv1d | nn.Conv2d:
    """A convolution with this kernel [o i *odd sizes] and bias [o] that keeps the size, zeros outside."""
    layer: type[nn.Conv1d | nn.Conv2d] = (nn.Conv1d, nn.Conv2d)[weight.ndim - 3]
    sizes: tuple[Any, ...] = tuple(weight.shape[2:])
    fused = layer(
        weight.shape[1] * groups, weight.shape[0], sizes, padding=tuple(size // 2 for size in sizes), groups=groups
    ).to(weight)
    fused.weight.copy_(weight)
    assert fused.bias is not None
    fused.bias.copy_(bias)
    return fused.eval()


@torch.no_grad()
def merged(first: nn.Conv2d, second: nn.Conv2d) -> nn.Conv2d:
    """One convolution that computes second(first(x)), up to rounding (arXiv:2301.12187, section 3).

    Kernel sizes add, k1 + s1 (k2 - 1), strides multiply. Zeros are all added around x, before either: that is what two
    convolutions compute whose second one has no padding of its own.

    Args:
        first: with a bias, ungrouped, and any padding.
        second: with a bias, ungrouped, without padding.
    """
    assert first.bias is not None and second.bias is not None and second.padding == (0, 0)
    assert first.groups == second.groups == 1 and first.dilation == second.dilation == (1, 1)
    stride = (first.stride[0] * second.stride[0], first.stride[1] * second.stride[1])
    weight = F.conv_transpose2d(second.weight, first.weight, stride=first.stride)
    assert not isinstance(first.padding, str)
    size, padding = (weight.shape[2], weight.shape[3]), (first.padding[0], first.padding[1])
    found = nn.Conv2d(weight.shape[1], weight.shape[0], size, stride, padding).to(weight)
    found.weight.copy_(weight)
    assert found.bias is not None
    found.bias.copy_(second.bias + second.weight.sum((2, 3)) @ first.bias)
    return found
