"""What can be said of an operator without running it: for the catalogue, and for whoever chooses."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from searchspaces.cost import module_cost
from searchspaces.fused import fused
from searchspaces.part import Part, Shape, describe
from searchspaces.quantization.integer import FakeQuantizer, Integer

CHANNELS, SIDE = 64, 16
"""Channels and side of the images on which operators are compared."""
_REFERENCE = re.compile(r"arXiv:\d{4}\.\d{4,5}|(?:ACL|CVPR|ECCV|EMNLP|ICCV|ICLR|ICML|NeurIPS) \d{4}")


class Operator(Protocol):
    """A token mixer, channel mixer or gate."""

    spatial_ranks: tuple[int, ...]

    def build(self, shape: Shape) -> nn.Module:
        """The module for samples of this shape."""


@dataclass(frozen=True)
class Facts:
    """Facts of one kind of operator with default settings, on an image or a sequence of as many positions.

    Attributes:
        summary: the first line of its docstring.
        references: arXiv numbers, else conferences; the first is that of the method itself.
        fields: what YAML can set, with the default of each.
        ranks: 1 for sequences [b c t], 2 for images [b c h w].
        causal: whether it can be told to see no later position.
        growth: exponent with which its MACs grow with the number of positions, to the nearest half.
        macs: for one sample.
        parameters: their number.
        integer_share: share of the inference form's parameters that an integer policy reaches; None without any.
        resized: classes of modules inside whose parameters are not plain leading slices of wider ones.
        export: empty, or why it cannot be exported.
    """

    summary: str
    references: tuple[str, ...]
    fields: dict[str, object]
    ranks: tuple[int, ...]
    causal: bool
    growth: float
    macs: int
    parameters: int
    integer_share: float | None
    resized: tuple[str, ...]
    export: str


def shape_of(ranks: tuple[int, ...], side: int = SIDE, channels: int = CHANNELS) -> Shape:
    """An image where the operator takes one, else a sequence with as many positions."""
    return (channels, side, side) if 2 in ranks else (channels, side * side)


def facts(kind: type[Part]) -> Facts:
    """The facts of an operator's class."""
    part: Operator = kind()  # type: ignore[assignment]
    shape = shape_of(part.spatial_ranks)
    module = part.build(shape)
    cost = module_cost(fused(module), shape)
    return Facts(
        summary=kind.summary(),
        references=tuple(dict.fromkeys(_REFERENCE.findall(kind.__doc__ or ""))),
        fields={name: describe(value) for name, value in kind().items()},
        ranks=tuple(part.spatial_ranks),
        causal="causal" in kind.model_fields,
        growth=growth(part),
        macs=cost.macs,
        parameters=cost.parameters,
        integer_share=integer_share(fused(part.build(shape).eval())),
        resized=tuple(sorted({type(child).__name__ for child in module.modules() if hasattr(type(child), "take")})),
        export=getattr(kind, "export", ""),
    )


def growth(part: Operator) -> float:
    """How MACs grow with the number of positions n: the exponent between n = 1024 and 4096, to the nearest half."""
    few, many = (_macs(part, shape_of(part.spatial_ranks, side, 16)) for side in (32, 64))
    return round(2 * math.log(many / few, 4)) / 2 if few else 0.0


def integer_share(module: nn.Module) -> float | None:
    """The share of a module's parameters in layers that an integer policy reaches; changes the module."""
    total = sum(parameter.numel() for parameter in module.parameters())
    layers = [layer for layer in Integer().prepare(module).modules() if _quantized(layer)]
    reached = {id(parameter): parameter for layer in layers for parameter in layer.parameters(recurse=False)}
    return round(sum(map(torch.numel, reached.values())) / total, 3) if total else None


def _quantized(layer: nn.Module) -> bool:
    return isinstance(getattr(layer, "observer", None), FakeQuantizer)


def _macs(part: Operator, shape: Shape) -> int:
    return module_cost(fused(part.build(shape)), shape).macs
