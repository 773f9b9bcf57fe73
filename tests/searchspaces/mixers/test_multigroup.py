"""Pointwise convolutions in several groupings, and what FMViT builds of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from searchspaces.channel_mixers.multigroup_mlp import MultigroupMlp
from searchspaces.mixers.lightweight_attention import LightweightAttention
from tests.searchspaces.twins import attended, batch_normalized, image_of, per_head, positions, twin_of


def multigroup(module: Any, x: Tensor) -> Tensor:
    """The sum of the normalized branches; each output of a group is a sum over the inputs of the group."""
    total = torch.zeros(())
    for name, branch in module.branches.items():
        groups, weight = int(name.removeprefix("groups_")), branch.convolution.convolution.weight[:, :, 0, 0]
        inputs, outputs, rows = -(-x.shape[1] // groups), len(weight) // groups, []
        for output in range(branch.norm.num_features):
            own = x[:, output // outputs * inputs :][:, :inputs]
            rows.append(sum((weight[output, i] * own[:, i] for i in range(own.shape[1])), torch.zeros_like(x[:, 0])))
        total = total + batch_normalized(branch.norm, torch.stack(rows, 1))
    return total


@twin_of((MultigroupMlp(ratio=1.5, groups=(1, 2, 3)), (7, 2, 3)), (MultigroupMlp(groups=(4,)), (5, 1, 2)))
def multigroup_mlp(part: MultigroupMlp, module: Any, x: Tensor) -> Tensor:
    """Two layers."""
    return multigroup(module.project, multigroup(module.expand, x).clamp(min=0))


@twin_of(
    *((LightweightAttention(heads=2, head_width=3, reduction=2), (5, *size)) for size in [(3, 5), (4, 4), (1, 2)]),
    (LightweightAttention(heads=1, head_width=5, reduction=3, groups=(2, 5)), (5, 4, 5)),
)
def lightweight_attention(part: LightweightAttention, module: Any, x: Tensor) -> Tensor:
    """Each position attends to the means of windows."""
    (height, width), size = x.shape[2:], part.reduction
    corners = [(y, z) for y in range(0, height, size) for z in range(0, width, size)]
    means = [x[:, :, y : y + size, z : z + size].mean((2, 3), keepdim=True) for y, z in corners]
    query = multigroup(module.query, x)
    keys, values = ([multigroup(role, mean)[..., 0, 0] for mean in means] for role in (module.key, module.value))
    pixels = []
    for y, z in positions(x.shape[2:]):
        heads = [
            attended(query[:, rows, y, z], [key[:, rows] for key in keys], [value[:, rows] for value in values])
            for rows in per_head(part.head_width, part.heads)
        ]
        pixels.append(torch.cat(heads, 1))
    return multigroup(module.output, image_of(pixels, x))
