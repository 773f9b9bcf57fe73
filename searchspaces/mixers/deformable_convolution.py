"""Convolution over positions that move with the content."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers._kernel_projection import KernelProjection
from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import OddPair, Positive, PositivePair, pair
from searchspaces.part import Shape


class DeformableConvolution(TokenMixer):
    """DCNv4: sampling at learned offsets with unbounded weights (Xiong et al., 2024, arXiv:2401.06197, section 3).

    y_g(p) = sum_k m_gk(p) v_g(p + p_k + o_gk(p)), y = W_out [y_1 .. y_G]: offsets o and modulation m are linear in the
    features at p, with no softmax over the points; v = W_v x is read bilinearly, zeros outside. Offsets and modulation
    start at zero, as published. The inner width is groups * group_width. The published CUDA kernel is not used: the
    bilinear read is a gather, which exports.
    """

    kernel: OddPair = 3
    dilation: PositivePair = 1
    groups: Positive = 4
    group_width: Positive = 16

    def build(self, shape: Shape) -> nn.Module:
        """The operator for shape[0] channels, at any size."""
        return DeformableSampling(shape[0], pair(self.kernel), pair(self.dilation), self.groups, self.group_width)


class DeformableSampling(nn.Module):
    """[b c h w] -> [b c h w]; modulated sums of values read between the positions."""

    def __init__(
        self, channels: int, kernel: tuple[int, int], dilation: tuple[int, int], groups: int, group_width: int
    ) -> None:
        super().__init__()
        self.kernel, self.dilation, self.groups = kernel, dilation, groups
        self.value = nn.Linear(channels, groups * group_width)
        self.down = KernelProjection(channels, groups, kernel, zero=True)
        self.right = KernelProjection(channels, groups, kernel, zero=True)
        self.modulation = KernelProjection(channels, groups, kernel, zero=True)
        self.output = nn.Linear(groups * group_width, channels)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The sampled and projected features."""
        tokens = x.permute(0, 2, 3, 1)
        rows, columns = self._positions(tokens)
        sampled = self._sample(self.value(tokens), rows, columns, self.modulation(tokens))
        return self.output(sampled).permute(0, 3, 1, 2)

    def _positions(
        self,
        tokens: Float[Tensor, "b h w c"],
    ) -> tuple[Float[Tensor, "b h w g k"], Float[Tensor, "b h w g k"]]:
        """Row and column of each sampling point, no further outside than where values have faded to zero."""
        (height, width), device = tokens.shape[1:3], tokens.device
        down, right = (
            step * (torch.arange(size, device=device) - size // 2)
            for step, size in zip(self.dilation, self.kernel, strict=True)
        )
        taps_down, taps_right = down.repeat_interleave(len(right)), right.repeat(len(down))
        rows = torch.arange(height, device=device)[:, None, None, None] + taps_down + self.down(tokens)
        columns = torch.arange(width, device=device)[:, None, None] + taps_right + self.right(tokens)
        return rows.clamp(-1, height), columns.clamp(-1, width)

    def _sample(
        self,
        values: Float[Tensor, "b h w gd"],
        rows: Float[Tensor, "b h w g k"],
        columns: Float[Tensor, "b h w g k"],
        weights: Float[Tensor, "b h w g k"],
    ) -> Float[Tensor, "b h w gd"]:
        """The weighted sum of bilinear reads; a frame of zeros around the image answers for the outside."""
        height, width = values.shape[1:3]
        table = F.pad(values, (0, 0, 1, 1, 1, 1)).flatten(0, 2).unflatten(1, (self.groups, -1)).flatten(0, 1)
        top, left = rows.floor().clamp(max=height - 1), columns.floor().clamp(max=width - 1)
        first = self._first(values, width) + ((top.long() + 1) * (width + 2) + left.long() + 1) * self.groups
        below, beside = rows - top, columns - left
        corners = (
            (0, (1 - below) * (1 - beside)),
            (1, (1 - below) * beside),
            (width + 2, below * (1 - beside)),
            (width + 3, below * beside),
        )
        read = [((share * weights)[..., None, :] @ table[first + step * self.groups]) for step, share in corners]
        return (read[0] + read[1] + read[2] + read[3]).flatten(3)

    def _first(self, values: Float[Tensor, "b h w gd"], width: int) -> Int[Tensor, "b 1 1 g 1"]:
        """Where each sample's and group's entries begin in the table, whose axes are sample, row, column, group."""
        positions = (values.shape[1] + 2) * (width + 2)
        samples = torch.arange(values.shape[0], device=values.device) * positions * self.groups
        return samples.view(-1, 1, 1, 1, 1) + torch.arange(self.groups, device=values.device)[:, None]
