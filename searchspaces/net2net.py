"""A larger network that computes what a smaller one does: Chen, Goodfellow, Shlens, "Net2Net" (arXiv:1511.05641).

Wider (section 2.2): new channels are copies of old ones, and what reads them counts each with its share. Here one rule
serves every block: an axis of outputs that grows from a to b takes the copies of one mapping for (a, b), the same in
the whole network, and an axis of inputs takes the same copies over how often each occurs, so that widths within blocks
and widths of whole stages grow alike. Deeper (section 2.3): new blocks begin as the identity. Larger kernels are
surrounded by zeros.

Not every operator allows it, and none is trusted to: the two networks are compared. It cannot hold where a block
normalizes over channels that are copied unequally often (layer normalization, unless a width is multiplied by an
integer), where channels act together (wider heads of attention, more of them but by an integer factor, grouped
convolution), behind a concatenation, and for a new block with neither a shortcut nor an activation that repeats without
effect (all but the identity and ReLU).
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from searchspaces.architecture import Architecture

TOLERANCE = 1e-5
"""Greatest difference of outputs, over the greatest output, or over 1 where that is less."""


class NotPreservedError(ValueError):
    """No transformation here makes the larger network compute what the smaller one does."""


def transformed(network: nn.Sequential, small: Architecture, large: Architecture, seed: int = 0) -> nn.Sequential:
    """The larger network with the smaller one's function, in evaluation mode; what is new in it can be trained.

    Args:
        network: with the parameters of the smaller architecture.
        small: its architecture.
        large: one that is nowhere smaller.
        seed: of which channels are copied once more than others, and of the input that both are compared on.

    Raises:
        NotPreservedError: it is smaller somewhere, or computes something else.
    """
    found, copies = large.build(), Copies(np.random.default_rng(seed))
    parents = {placement.path: module for placement, module in zip(small.blocks(), network, strict=True)}
    for placement, module in zip(large.blocks(), found, strict=True):
        if placement.path in parents:
            module.load_state_dict(grown(parents[placement.path].state_dict(), module.state_dict(), copies))
        else:
            become_identity(module)
    difference = compared(network, found, small.input_shape, seed)
    if not difference <= TOLERANCE:
        raise NotPreservedError(f"{small.id} cannot grow into {large.id}: outputs differ by {difference:.2g}")
    return found.train(network.training)


class Copies:
    """Which old channel each new one copies, for each pair of widths."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._known: dict[tuple[int, int], Tensor] = {}

    def __call__(self, before: int, after: int) -> Tensor:
        """Numbers of old channels [after]: all of them, as often as they fit, then some at random."""
        if (before, after) not in self._known:
            some = self._rng.permutation(before)[: after % before]
            every = np.concatenate([np.tile(np.arange(before), after // before), some])
            self._known[before, after] = torch.from_numpy(every)
        return self._known[before, after]


def grown(old: Mapping[str, Tensor], new: Mapping[str, Tensor], copies: Copies) -> dict[str, Tensor]:
    """The old tensors in the shapes of the new ones of the same names.

    Raises:
        NotPreservedError: a name is missing on one side, or a shape is smaller.
    """
    if old.keys() != new.keys():
        raise NotPreservedError(f"a block has other parameters: {sorted(old.keys() ^ new.keys())}")
    return {name: _grown(name, tensor, new[name].shape, copies) for name, tensor in old.items()}


def _grown(name: str, tensor: Tensor, shape: torch.Size, copies: Copies) -> Tensor:
    """One tensor: copies along the axis of outputs, shares along that of inputs, zeros around kernels."""
    if tensor.dim() != len(shape) or any(after < before for before, after in zip(tensor.shape, shape, strict=True)):
        raise NotPreservedError(f"{name} would shrink from {list(tensor.shape)} to {list(shape)}")
    if tensor.dim() and tensor.shape[0] < shape[0]:
        tensor = tensor[copies(tensor.shape[0], shape[0])]
    if tensor.dim() > 1 and tensor.shape[1] < shape[1]:
        of = copies(tensor.shape[1], shape[1])
        often = torch.bincount(of)[of].reshape(-1, *[1] * (tensor.dim() - 2))
        tensor = tensor[:, of] / often
    around = [(after - before) // 2 for before, after in zip(tensor.shape[2:], shape[2:], strict=True)]
    return functional.pad(tensor, [side for size in reversed(around) for side in (size, size)])


def become_identity(block: nn.Module) -> None:
    """Makes a new block pass on what it reads, if it can: the last weights of a branch are 0, a convolution copies."""
    with torch.no_grad():
        if getattr(block, "shortcut", False):
            branch = getattr(block, "mixer", block)
            nothing = _last(branch) or _last(block.get_submodule("norm"))
            for parameter in nothing.parameters() if nothing else ():
                parameter.zero_()
            return
        for module in block.modules():
            if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d) and module.groups == 1:
                nn.init.dirac_(module.weight)
            elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
                module.weight.fill_(float(np.sqrt(1 + module.eps)))


def _last(module: nn.Module) -> nn.Module | None:
    """The last of the innermost modules that have parameters."""
    leaves = [m for m in module.modules() if not list(m.children()) and list(m.parameters())]
    return leaves[-1] if leaves else None


def compared(first: nn.Module, second: nn.Module, shape: tuple[int, ...], seed: int) -> float:
    """The greatest difference of two networks' outputs for random inputs, over the first one's greatest output."""
    x = torch.from_numpy(np.random.default_rng(seed).standard_normal((4, *shape)))
    with torch.no_grad():
        mine, theirs = (deepcopy(network).double().eval()(x) for network in (first, second))
    if mine.shape != theirs.shape:
        return float("inf")
    return float((mine - theirs).abs().max() / mine.abs().max().clamp(min=1.0))
