"""Convolutions in a row, between which activations can be left out and which can then become one."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.blocks._convolution import ACTIVATIONS, Activation, ConvolutionNorm, OddKernel
from searchspaces.blocks._role import Block
from searchspaces.mixers._fusion import folded, merged
from searchspaces.part import Part, Shape

Positive = Annotated[int, Field(ge=1)]
Joint = Literal["activation", "linear", "merged"]


class Link(Part):
    """One convolution of a run, with batch normalization."""

    width: Positive
    kernel: OddKernel = 3


class ConvolutionRun(Block):
    """Convolutions with what is between them left open: depth compression (Kim et al., 2023, arXiv:2301.12187).

    Behind each but the last is a joint: its `activation`, nothing (`linear`), or nothing and a merger with the next
    convolution (`merged`) when the network is deployed. Those that merge train apart, with all zeros around the first
    of them (the paper reorders the padding likewise), so that the one convolution computes exactly the same. The
    strategy `depth_compression` chooses joints.
    """

    links: Annotated[tuple[Link, ...], Field(min_length=1)]
    joints: tuple[Joint, ...] = ()
    """Behind each convolution but the last; those that are not named are activations."""
    stride: Positive = 1
    """Of the first convolution."""
    activation: Activation = "relu"
    """At joints, and behind the last convolution."""

    def build(self, shape: Shape) -> nn.Module:
        """The run for [b c h w] features.

        Raises:
            ValueError: there are as many joints as convolutions, or more.
        """
        if len(self.joints) >= len(self.links):
            raise ValueError(f"{len(self.links)} convolutions have {len(self.links) - 1} joints, not {self.joints}")
        joints = (*self.joints, *["activation"] * (len(self.links) - len(self.joints)))
        widths = [shape[0], *(link.width for link in self.links)]
        layers = [
            ConvolutionNorm(
                nn.Conv2d(widths[index], link.width, link.kernel, 1 if index else self.stride, bias=False),
                nn.BatchNorm2d(link.width),
                ACTIVATIONS[self.activation if joint == "activation" else "none"](),
            )
            for index, (link, joint) in enumerate(zip(self.links, joints, strict=True))
        ]
        return Run(layers, tuple(joint == "merged" for joint in joints))

    def output_shape(self, shape: Shape) -> Shape:
        """The last width, sizes divided by the stride, rounded up."""
        return (self.links[-1].width, *(math.ceil(size / self.stride) for size in shape[1:]))


class Run(nn.Module):
    """[b c h w] -> [b c2 h2 w2]; convolutions without padding, with zeros around what enters each group that merges.

    Args:
        layers: the convolutions, the first of which may have a stride.
        merges: for each whether it merges with the next.
    """

    def __init__(self, layers: list[ConvolutionNorm], merges: tuple[bool, ...]) -> None:
        super().__init__()
        self.layers, self.merges = nn.ModuleList(layers), merges
        self.paddings = [0] * len(layers)
        start, reach = 0, 1
        for index, (layer, merges_next) in enumerate(zip(layers, merges, strict=True)):
            convolution = layer.convolution
            assert isinstance(convolution, nn.Conv2d)
            self.paddings[start] += reach * (convolution.kernel_size[0] // 2)
            start, reach = (start, reach * convolution.stride[0]) if merges_next else (index + 1, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        """The features behind the last convolution."""
        for layer, padding in zip(self.layers, self.paddings, strict=True):
            x = layer(F.pad(x, [padding] * 4) if padding else x)
        return x

    @torch.no_grad()
    def fuse(self) -> nn.Sequential:
        """The same function in evaluation mode, normalizations folded and groups merged."""
        found: list[nn.Module] = []
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, ConvolutionNorm)
            convolution = _plain(layer, self.paddings[index])
            if index and self.merges[index - 1]:
                first = found.pop()
                assert isinstance(first, nn.Conv2d)
                convolution = merged(first, convolution)
            found += [convolution] if self.merges[index] else [convolution, layer.activation]
        return nn.Sequential(*found)


def _plain(layer: ConvolutionNorm, padding: int) -> nn.Conv2d:
    """A convolution with its normalization folded into it, and with padding."""
    assert isinstance(layer.convolution, nn.Conv2d)
    weight, bias = folded(layer)
    size, stride = layer.convolution.kernel_size, layer.convolution.stride
    found = nn.Conv2d(weight.shape[1], weight.shape[0], (size[0], size[1]), (stride[0], stride[1]), padding).to(weight)
    assert found.bias is not None
    found.weight.copy_(weight), found.bias.copy_(bias)
    return found
