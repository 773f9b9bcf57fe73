"""Modules without weights of their own, to be run on parameters that come from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, runtime_checkable
from unittest import mock

from torch import Tensor, nn

from searchspaces.blocks._role import Block
from searchspaces.part import Shape


@runtime_checkable
class Progressive(Protocol):
    """A module that changes while it is trained, in its buffers alone; a new one is as at the end of training."""

    def progress(self, fraction: float) -> None:
        """Be as when this fraction of the training is done, from 0 to 1."""


@runtime_checkable
class Auxiliary(Protocol):
    """A module with losses of its own, to be added to that of the task while it is trained."""

    def auxiliary_losses(self, x: Tensor) -> Iterator[Tensor]:
        """Losses, [] each and weighted, of an input that the module takes; none where their weights are zero."""


class Role(NamedTuple):
    """What a parameter is in its module: the key under which it is shared, and how a slice of it is taken."""

    key: str
    owner: nn.Module
    name: str
    shape: tuple[int, ...]


class Skeleton(NamedTuple):
    """A block's module with its parameters on the meta device and its buffers real."""

    module: nn.Module
    roles: dict[str, Role]
    """By parameter name."""
    buffers: dict[str, Tensor]
    """As constructed; a network clones those that it will update."""
    slots: dict[str, tuple[dict[str, Any], str]]
    """By parameter or buffer name: the dictionary of the owning module, and the name there."""
    progressive: tuple[Progressive, ...]
    """The parts of the module that change while it is trained."""
    auxiliary: tuple[nn.Module, ...]
    """The parts of the module that have losses of their own."""

    def place(self, tensors: Mapping[str, Tensor]) -> None:
        """Puts parameters and buffers into the module; they stay until others take their place."""
        for name, tensor in tensors.items():
            owner, own_name = self.slots[name]
            owner[own_name] = tensor

    def run(
        self,
        tensors: Mapping[str, Tensor],
        inputs: Sequence[Tensor],
        training: bool,
        losses: list[Tensor] | None = None,
    ) -> Tensor:
        """The module's output with the given parameters and buffers; its own losses are added to the list.

        The same as `torch.func.functional_call`, whose bookkeeping would cost small networks a fifth of their time:
        the tensors stay in the module until the next call.
        """
        self.place(tensors)
        if self.module.training != training:
            self.module.train(training)
        if losses is None or not self.auxiliary:
            return self.module(*inputs)
        with _noting(self.auxiliary, losses):
            return self.module(*inputs)


@contextmanager
def _noting(parts: Iterable[nn.Module], losses: list[Tensor]) -> Iterator[None]:
    """In this context each input of these modules adds their own losses to the list."""

    def note(part: Any, inputs: tuple[Tensor, ...]) -> None:
        losses.extend(own_losses(part, *inputs))

    hooks = [part.register_forward_pre_hook(note) for part in parts]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def own_losses(part: Auxiliary, *inputs: Tensor) -> Iterator[Tensor]:
    """A module's own losses of a batch of inputs."""
    return part.auxiliary_losses(*inputs)


@contextmanager
def parameters_on_meta() -> Iterator[None]:
    """Modules built in this context have parameters without storage, so that nothing is initialized."""
    register = nn.Module.register_parameter

    def register_on_meta(self: nn.Module, name: str, param: nn.Parameter | None) -> None:
        register(self, name, None if param is None else nn.Parameter(param.to("meta"), param.requires_grad))

    with mock.patch.object(nn.Module, "register_parameter", register_on_meta):
        yield


@lru_cache(maxsize=16384)
def skeleton(part: Block, shape: Shape) -> Skeleton:
    """The skeleton of a block, fake quantization included; cached, so never change its module for good."""
    with parameters_on_meta():
        module = part.quantization.prepare(part.build(shape))
    progressive = tuple(part for part in module.modules() if isinstance(part, Progressive))
    auxiliary = tuple(part for part in module.modules() if isinstance(part, Auxiliary))
    return Skeleton(module, roles(module), dict(module.named_buffers()), _slots(module), progressive, auxiliary)


def _slots(module: nn.Module) -> dict[str, tuple[dict[str, Any], str]]:
    """Where each parameter and buffer of a module is kept."""
    found: dict[str, tuple[dict[str, Any], str]] = {}
    for prefix, owner in module.named_modules():
        for kept in (owner._parameters, owner._buffers):
            found |= {f"{prefix}.{name}" if prefix else name: (kept, name) for name in kept}
    return found


@contextmanager
def averaging(modules: Iterable[nn.Module]) -> Iterator[None]:
    """In this context batch normalizations keep the mean of their statistics over all batches, not a moving one."""
    norms = {
        norm for module in modules for norm in module.modules() if isinstance(norm, nn.modules.batchnorm._BatchNorm)
    }
    momenta = {norm: norm.momentum for norm in norms}
    for norm in norms:
        norm.momentum = None
    try:
        yield
    finally:
        for norm, momentum in momenta.items():
            norm.momentum = momentum


def roles(module: nn.Module, prefix: str = "") -> dict[str, Role]:
    """The role of each parameter of a module.

    The key names every module on the way by attribute and class, `mixer:Attention/query:Linear/weight`: modules of
    different classes at one place never share, modules of one class always do.
    """
    found = {}
    path = f"{prefix}{type(module).__name__}"
    for name, parameter in module.named_parameters(recurse=False):
        found[name] = Role(f"{path}/{name}", module, name, tuple(parameter.shape))
    for child_name, child in module.named_children():
        for name, role in roles(child, f"{path}/{child_name}:").items():
            found[f"{child_name}.{name}"] = role
    return found


def take(role: Role, shared: Tensor) -> Tensor:
    """A parameter's slice of the shared tensor: leading along the first two axes, centred along kernel axes.

    A module class with a `take(name, shared, shape)` of its own decides for its own parameters.
    """
    own = getattr(type(role.owner), "take", None)
    if own is not None:
        return own(role.name, shared, role.shape)
    if tuple(shared.shape) == role.shape:
        return shared
    for axis, (have, want) in enumerate(zip(shared.shape, role.shape, strict=True)):
        if have != want:
            shared = shared.narrow(axis, 0 if axis < 2 else (have - want) // 2, want)
    return shared
