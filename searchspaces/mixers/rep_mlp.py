"""RepMLP: fully connected layers over positions, which absorb convolutions after training."""

from __future__ import annotations

from copy import deepcopy
from typing import Annotated, cast

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.blocks._convolution import ConvolutionNorm
from searchspaces.mixers._fusion import folded
from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import Odd, Positive, PositivePair, pair
from searchspaces.part import Shape


class RepMlp(TokenMixer):
    """RepMLP: global, partition and local perceptron (Ding et al., 2021, arXiv:2105.01883, section 3).

    The image is cut into partitions of `window`; a two-layer perceptron over the means of all partitions adds to each
    (global, hidden width 1 / `reduction`); a fully connected layer over positions and the `group_width` channels of
    a group maps each partition (partition); convolutions with `kernels` inside the partitions add to that (local). All
    but the first layer are normalized linear maps, which `fuse` makes one matrix. Sizes that are no multiple of the
    window are padded with zeros, and so is the last group of channels. The fully connected layer is normalized per
    channel, as in RepMLPNet (arXiv:2112.11081), not per channel and position: a smaller window is then the centre of a
    larger one. Groups have a width, not a number: the leading channels keep theirs in a narrower network.
    """

    window: PositivePair = 4
    group_width: Positive = 2
    kernels: tuple[Odd, ...] = (1, 3)
    reduction: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 4.0

    def build(self, shape: Shape) -> nn.Module:
        """The mixer for shape[0] channels at exactly this size."""
        asked, size = pair(self.window), (shape[1], shape[2])
        window = (min(asked[0], size[0]), min(asked[1], size[1]))
        width = min(self.group_width, shape[0])
        channels, grid = -(-shape[0] // width) * width, (-(-size[0] // window[0]), -(-size[1] // window[1]))
        hidden = max(1, round(channels * grid[0] * grid[1] / self.reduction))
        world = GlobalPerceptron(channels, hidden, grid) if grid != (1, 1) else None
        return PartitionMixer(channels, window, grid, world, TrainedPerceptron(channels, width, window, self.kernels))


class PartitionMixer(nn.Module):
    """[b c h w] -> [b c h w]; `world` adds to each partition what all of them say, `local` maps each by itself."""

    def __init__(
        self, channels: int, window: tuple[int, int], grid: tuple[int, int], world: nn.Module | None, local: nn.Module
    ) -> None:
        super().__init__()
        self.channels, self.window, self.grid = channels, window, grid
        self.world, self.local = world, local

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The mixed features."""
        (down, right), (rows, columns) = self.grid, self.window
        padding = (0, right * columns - x.shape[3], 0, down * rows - x.shape[2], 0, self.channels - x.shape[1])
        split = F.pad(x, padding).unflatten(3, (right, columns)).unflatten(2, (down, rows))
        if self.world is not None:
            split = split + self.world(split.mean((3, 5)))[:, :, :, None, :, None]
        parts = self.local(split.permute(0, 2, 4, 1, 3, 5).flatten(0, 2))
        image = parts.unflatten(0, (x.shape[0], down, right)).permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)
        return image[:, : x.shape[1], : x.shape[2], : x.shape[3]]

    def fuse(self) -> PartitionMixer:
        """The inference form: in evaluation mode the same function, with one matrix in place of the local branches."""
        local: nn.Module = self.local.fuse() if isinstance(self.local, TrainedPerceptron) else deepcopy(self.local)
        return PartitionMixer(self.channels, self.window, self.grid, deepcopy(self.world), local).train(self.training)


class GlobalPerceptron(nn.Module):
    """[b c down right] -> same shape; two fully connected layers over all channels and partitions.

    They are convolutions with kernels of the grid's size, so that narrower networks take their leading channels.
    """

    def __init__(self, channels: int, hidden: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.reduce = nn.Conv2d(channels, hidden, grid)
        self.expand = nn.ConvTranspose2d(hidden, channels, grid)

    def forward(self, means: Float[Tensor, "b c down right"]) -> Float[Tensor, "b c down right"]:
        """What is to be added to each partition."""
        return self.expand(F.relu(self.reduce(self.norm(means))))


class DensePerceptron(nn.Module):
    """[b c h w] -> [b c h w]; a fully connected layer over positions and the channels of a group, for each group.

    The weight's axes are output channel, input channel in the group, output position, input position. Each partition
    is one position of a grouped 1x1 convolution, as in the paper, a form that int8 runtimes have too.
    """

    def __init__(self, channels: int, group_width: int, window: tuple[int, int], bias: bool) -> None:
        super().__init__()
        self.group_width = group_width
        scale = (group_width * window[0] * window[1]) ** -0.5
        self.weight = nn.Parameter(scale * torch.randn(channels, group_width, *window, *window))
        self.bias = nn.Parameter(torch.zeros(channels)) if bias else None

    def forward(self, parts: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The mapped partitions."""
        width = self.group_width
        kernel = self.weight.permute(0, 2, 3, 1, 4, 5).reshape(-1, width * parts[0, 0].numel(), 1, 1)
        inputs = parts.flatten(1)[:, :, None, None]
        outputs = F.conv2d(inputs, kernel, groups=parts.shape[1] // width).reshape(parts.shape)
        return outputs if self.bias is None else outputs + self.bias[:, None, None]


class TrainedPerceptron(nn.Module):
    """[b c h w] -> [b c h w]; the normalized fully connected layer and its normalized convolutions, summed."""

    def __init__(self, channels: int, group_width: int, window: tuple[int, int], kernels: tuple[int, ...]) -> None:
        super().__init__()
        self.dense = DensePerceptron(channels, group_width, window, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        groups = channels // group_width
        convolutions = [
            nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=groups, bias=False) for kernel in kernels
        ]
        self.branches = nn.ModuleList(
            ConvolutionNorm(convolution, nn.BatchNorm2d(channels), nn.Identity()) for convolution in convolutions
        )

    def forward(self, parts: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The mapped partitions."""
        output = self.norm(self.dense(parts))
        for branch in self.branches:
            output = output + branch(parts)
        return output

    @torch.no_grad()
    def fuse(self) -> DensePerceptron:
        """One fully connected layer: normalizations folded, convolutions as matrices (section 3)."""
        channels, width, height, columns = self.dense.weight.shape[:4]
        fused = DensePerceptron(channels, width, (height, columns), bias=True).to(self.dense.weight)
        assert self.norm.running_var is not None and self.norm.running_mean is not None
        scale = self.norm.weight / (self.norm.running_var + self.norm.eps).sqrt()
        weight = self.dense.weight * scale.view(-1, 1, 1, 1, 1, 1)
        bias = self.norm.bias - self.norm.running_mean * scale
        for branch in self.branches:
            kernel, shift = folded(cast(ConvolutionNorm, branch))
            weight, bias = weight + _matrix(kernel, (height, columns)), bias + shift
        fused.weight.copy_(weight)
        fused.get_parameter("bias").copy_(bias)
        return fused


def _matrix(kernel: Float[Tensor, "c i k k"], window: tuple[int, int]) -> Float[Tensor, "c i h w h w"]:
    """A convolution as a fully connected layer: what it answers to an impulse at each position."""
    filters = kernel.flatten(0, 1).unsqueeze(1)
    impulses = torch.eye(window[0] * window[1]).to(kernel).view(-1, 1, *window)
    answers = F.conv2d(impulses, filters, padding=kernel.shape[2] // 2)
    return answers.view(*window, *kernel.shape[:2], *window).permute(2, 3, 4, 5, 0, 1)
