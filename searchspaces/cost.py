"""What a block or a network costs when deployed, counted on the executed graph on the meta device.

1 MAC = one multiply-accumulate of convolutions and matrix products, as torch counts them (1 MAC = 2 FLOPs).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from searchspaces.architecture import Architecture
from searchspaces.blocks._role import Block
from searchspaces.fused import fused
from searchspaces.part import Shape

_FREE = (torch.ops.aten._unsafe_view.default, torch.ops.aten.empty.memory_format)
"""Operators that compute nothing, though they are not marked as views."""


@dataclass(frozen=True)
class Cost:
    """Costs for one sample in float32.

    `activation_bytes` is what all executed operators write, `peak_activation_bytes` the most that one operator reads
    and writes, `kernels` the number of executed operators that are more than a view. `depthwise_macs` are those of the
    `macs` that convolve each channel by itself, at a rate far below that of the others.
    """

    parameters: int = 0
    macs: int = 0
    activation_bytes: int = 0
    peak_activation_bytes: int = 0
    kernels: int = 0
    depthwise_macs: int = 0

    def __add__(self, other: Cost) -> Cost:
        """The cost of one after the other."""
        return Cost(
            self.parameters + other.parameters,
            self.macs + other.macs,
            self.activation_bytes + other.activation_bytes,
            max(self.peak_activation_bytes, other.peak_activation_bytes),
            self.kernels + other.kernels,
            self.depthwise_macs + other.depthwise_macs,
        )


class _Counter(TorchDispatchMode):
    """Counts operators as they are dispatched."""

    def __init__(self, constants: Iterable[Tensor]) -> None:
        super().__init__()
        self.cost = Cost()
        self.kept = list(constants)
        self.constants = {id(tensor) for tensor in self.kept}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.is_view or func in _FREE:
            if args and id(args[0]) in self.constants:
                self.constants.add(id(result))
                self.kept.append(result)
        else:
            self.count(func, args, kwargs or {}, result)
        return result

    def count(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        """Adds one executed operator."""
        formula = flop_registry.get(func._overloadpacket) or flop_registry.get(func)
        macs = int(formula(*args, **kwargs, out_val=result)) // 2 if formula else 0
        written = sum(map(_bytes, _tensors(result)))
        read = sum(_bytes(tensor) for tensor in _tensors((args, kwargs)) if id(tensor) not in self.constants)
        self.cost += Cost(0, macs, written, read + written, 1, macs if _is_depthwise(func, args) else 0)


def _is_depthwise(func: Any, args: Any) -> bool:
    """Whether an operator is a convolution in which each filter reads one channel of several."""
    return func is torch.ops.aten.convolution.default and args[1].shape[1] == 1 and args[-1] > 1


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def module_cost(module: nn.Module, shape: Shape) -> Cost:
    """The cost of a module on one sample of the shape [*shape]."""
    module = module.to("meta").eval()
    with torch.no_grad(), _Counter((*module.parameters(), *module.buffers())) as counter:
        module(torch.empty(1, *shape, device="meta"))
    return counter.cost + Cost(parameters=sum(math.prod(p.shape) for p in module.parameters()))


@lru_cache(maxsize=65536)
def cost(part: Block, shape: Shape) -> Cost:
    """The cost of a block's inference form as it is initialized, in float32 whatever its quantization policy."""
    return module_cost(deployed(part, shape), shape)


def deployed(part: Block, shape: Shape) -> nn.Module:
    """A block in its inference form; with parameters without storage where it trains in the same form."""
    with torch.device("meta"):
        module = part.build(shape)
    if not any(hasattr(child, "fuse") for child in module.modules()):
        return module
    with torch.random.fork_rng(devices=[]):
        return fused(part.build(shape))


def architecture_cost(architecture: Architecture) -> Cost:
    """The cost of a whole network: the sum over its blocks."""
    return sum((cost(part, shape) for _, part, shape in architecture.blocks()), Cost())
