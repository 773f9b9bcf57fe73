"""The operations of the published cells by their published names, and cells of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from searchspaces.blocks._role import Block
from searchspaces.blocks.factorized_convolution import FactorizedConvolution
from searchspaces.blocks.pool import Pool
from searchspaces.blocks.relu_convolution import ReluConvolution
from searchspaces.blocks.separable_convolution import SeparableConvolution
from searchspaces.blocks.skip_connection import SkipConnection
from searchspaces.blocks.zero import Zero
from searchspaces.choice import Choice, rebuild
from searchspaces.graph import Edge
from searchspaces.part import Part
from searchspaces.quantization.none import NoQuantization

Name = Literal[
    "none",
    "skip_connect",
    "nor_conv_1x1",
    "nor_conv_3x3",
    "avg_pool_3x3",
    "max_pool_3x3",
    "max_pool_5x5",
    "max_pool_7x7",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "sep_conv_7x7",
    "dil_conv_3x3",
    "dil_conv_5x5",
    "dil_sep_conv_3x3",
    "conv_7x1_1x7",
]

OPERATIONS: dict[str, Callable[[int], Block]] = {
    "none": lambda stride: Zero(stride=stride),
    "skip_connect": lambda stride: SkipConnection(stride=stride),
    "nor_conv_1x1": lambda stride: ReluConvolution(kernel=1, stride=stride),
    "nor_conv_3x3": lambda stride: ReluConvolution(kernel=3, stride=stride),
    "avg_pool_3x3": lambda stride: Pool(stride=stride),
    "max_pool_3x3": lambda stride: Pool(mode="maximum", stride=stride),
    "max_pool_5x5": lambda stride: Pool(mode="maximum", kernel=5, stride=stride),
    "max_pool_7x7": lambda stride: Pool(mode="maximum", kernel=7, stride=stride),
    "sep_conv_3x3": lambda stride: SeparableConvolution(kernel=3, stride=stride),
    "sep_conv_5x5": lambda stride: SeparableConvolution(kernel=5, stride=stride),
    "sep_conv_7x7": lambda stride: SeparableConvolution(kernel=7, stride=stride),
    "dil_conv_3x3": lambda stride: SeparableConvolution(kernel=3, stride=stride, dilation=2, repeats=1),
    "dil_conv_5x5": lambda stride: SeparableConvolution(kernel=5, stride=stride, dilation=2, repeats=1),
    "dil_sep_conv_3x3": lambda stride: SeparableConvolution(kernel=3, stride=stride, dilation=2),
    "conv_7x1_1x7": lambda stride: FactorizedConvolution(stride=stride),
}
"""Blocks by name, for a stride."""


def edge(source: int, names: Sequence[str], path: str, stride: int, quantization: Any) -> Edge:
    """An edge with one of several operations: the decision `path`."""
    blocks = tuple(quantized(OPERATIONS[name](stride), quantization) for name in names)
    block = Choice(path, blocks) if len(blocks) > 1 else blocks[0]
    return Edge.opened(source=source, block=block)


def scaled(width: Any, factor: int) -> Any:
    """A multiple of a width, or of each option of an open one: the same decision."""
    if isinstance(width, Choice):
        return Choice(width.path, tuple(scaled(option, factor) for option in width.options))
    return width * factor


def quantized(block: Block, quantization: Any) -> Part:
    """A block with a policy, or with the choice of one."""
    return rebuild(block, {**dict(block.items()), "quantization": quantization})


def name_of(block: Block) -> str:
    """The published name of a block, whatever its quantization.

    Raises:
        ValueError: it has none.
    """
    plain = block.model_copy(update={"quantization": NoQuantization()})
    stride = dict(block.items()).get("stride", 1)
    found = [name for name, operation in OPERATIONS.items() if operation(stride) == plain]
    if not found:
        raise ValueError(f"no published operation: {block!r}")
    return found[0]
