"""Fused: the inference form of a network whose operators train in another form."""

from __future__ import annotations

import copy

from torch import nn


def fused(module: nn.Module) -> nn.Module:
    """A copy in evaluation mode in which every module that has a `fuse` method is what that returns.

    Outputs stay the same up to rounding. A module without such parts is copied as it is.
    """
    return _replaced(copy.deepcopy(module).eval())


def _replaced(module: nn.Module) -> nn.Module:
    """The module, with itself and its parts in the inference form."""
    fuse = getattr(module, "fuse", None)
    if callable(fuse):
        found: nn.Module = fuse()
        return found
    for name, child in module.named_children():
        setattr(module, name, _replaced(child))
    return module
