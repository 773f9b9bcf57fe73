"""Importance: which channels, heads and layers of trained weights matter; and the weights in that order.

Sub-networks take leading slices, so the important come first. What the largest network computes stays the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from searchspaces.architecture import Architecture, Placement
from searchspaces.skeleton import skeleton
from searchspaces.supernet import Supernet


@runtime_checkable
class Sortable(Protocol):
    """A module with inner channels whose order does not matter, as long as all of its layers have the same."""

    sortable: dict[str, int]
    """By layer: the axis of its weight along which the inner channels lie, 0 where it makes them, 1 where it reads."""
    groups: int
    """Equal runs of inner channels that stay together, such as heads."""


class Contribution(NamedTuple):
    """How much each group of inner channels of one module adds to its output."""

    placement: Placement
    name: str
    """Of the module in its block."""
    norms: Float[Tensor, "groups"]


@torch.no_grad()
def sort_channels(supernet: Supernet, architecture: Architecture, batches: Sequence[Tensor] = ()) -> None:
    """Brings the inner channels of each sortable module into the order of their importance.

    Args:
        supernet: its weights change, and what this architecture computes does not, up to rounding.
        architecture: the largest.
        batches: inputs [b *input_shape] on which contributions are measured; without any the norms of the weights are.
    """
    for placement, name, norms in contributions(supernet, architecture, batches):
        order = norms.argsort(descending=True, stable=True)
        block = skeleton(placement.part, placement.shape)
        module = block.module.get_submodule(name)
        assert isinstance(module, Sortable)
        for parameter, axis in _parameters(module).items():
            shared = supernet.shared(placement.path, block.roles[f"{name}.{parameter}".removeprefix(".")])
            runs = shared.unflatten(axis, (module.groups, -1))
            shared.copy_(runs.index_select(axis, order).flatten(axis, axis + 1))


@torch.no_grad()
def contributions(supernet: Supernet, architecture: Architecture, batches: Sequence[Tensor] = ()) -> list[Contribution]:
    """The contribution of each group of inner channels, for each sortable module of an architecture.

    It is the norm, over all samples and positions, of what the group adds to the module's output:
    sqrt(trace(W C W^T)), W the group's columns of the matrix that reads it, C the second moments of its channels. That
    joins magnitudes of weights and of activations, as Wanda's |W| |x| does for single weights (arXiv:2306.11695,
    equation 1). Without batches C holds the squared norms of the weights that make each channel.
    """
    network = standalone(supernet, architecture, batches)
    found = [
        (placement, name, module)
        for placement, block in zip(architecture.blocks(), network, strict=True)
        for name, module in block.named_modules()
        if isinstance(module, Sortable)
    ]
    with _second_moments([module for *_, module in found]) as moments:
        for batch in batches:
            network(batch)
    return [
        Contribution(placement, name, _norms(module, moment))
        for (placement, name, module), moment in zip(found, moments, strict=True)
    ]


@torch.no_grad()
def layer_order(
    supernet: Supernet, architecture: Architecture, layers: Sequence[Sequence[int]], batches: Sequence[Tensor]
) -> tuple[int, ...]:
    """Numbers of the layers, the most important first: those whose absence changes the output most.

    Args:
        supernet: with trained weights.
        architecture: the largest; a chain.
        layers: of each the numbers of its blocks, all of which keep the shape.
        batches: inputs [b *input_shape].
    """
    network = standalone(supernet, architecture, batches)
    outputs = torch.cat([network(batch) for batch in batches])
    changes = []
    for layer in layers:
        rest = nn.Sequential(*(nn.Identity() if index in layer else block for index, block in enumerate(network)))
        changes.append(angular_distance(torch.cat([rest(batch) for batch in batches]), outputs).mean())
    return tuple(torch.stack(changes).argsort(descending=True, stable=True).tolist())


def angular_distance(first: Float[Tensor, "b *k"], second: Float[Tensor, "b *k"]) -> Float[Tensor, "b"]:
    """The angle between two outputs for each sample, as a share of 180 degrees: 0 where they differ in length alone."""
    one, other = (nn.functional.normalize(tensor.flatten(1).double(), dim=1) for tensor in (first, second))
    return 2 / torch.pi * torch.atan2((one - other).norm(dim=1), (one + other).norm(dim=1))


def standalone(supernet: Supernet, architecture: Architecture, batches: Sequence[Tensor]) -> nn.Sequential:
    """A network of its own with the architecture's slices and the batches' statistics, not quantized, to evaluate."""
    with torch.random.fork_rng(devices=[]):
        network = architecture.build(quantize=False)
    subnet = supernet.subnet(architecture)
    subnet.recalibrate(batches)
    state = subnet.state()
    network.load_state_dict({name: state[name] for name in network.state_dict()})
    return network.eval()


@contextmanager
def _second_moments(modules: Sequence[Sortable]) -> Iterator[list[Tensor | None]]:
    """In this context: sums of x x^T over what reaches the matrix that reads each module's inner channels, if any."""
    moments: list[Tensor | None] = [None] * len(modules)

    def note(index: int, reader: nn.Module, x: Tensor) -> None:
        channels = (x if isinstance(reader, nn.Linear) else x.movedim(1, -1)).flatten(0, -2)
        known, found = moments[index], channels.T @ channels
        moments[index] = found if known is None else known + found

    handles = []
    for index, module in enumerate(modules):
        assert isinstance(module, nn.Module)
        reader = module.get_submodule(_reader(module))
        handles.append(reader.register_forward_pre_hook(lambda layer, x, index=index: note(index, layer, x[0])))
    try:
        yield moments
    finally:
        for handle in handles:
            handle.remove()


def _norms(module: Sortable, moment: Tensor | None) -> Float[Tensor, "groups"]:
    """The norm of what each group of inner channels adds to the output."""
    assert isinstance(module, nn.Module)
    reading = module.get_parameter(f"{_reader(module)}.weight").detach().flatten(1).T
    if moment is None:
        making = [module.get_parameter(name).detach() for name, axis in _parameters(module).items() if axis == 0]
        moment = torch.cat([tensor.reshape(len(reading), -1) for tensor in making], 1).square().sum(1).diag()
    runs = moment.unflatten(0, (module.groups, -1)).unflatten(2, (module.groups, -1))
    own = torch.stack([runs[group, :, group] for group in range(module.groups)])
    weights = reading.unflatten(0, (module.groups, -1))
    return torch.einsum("gio,gij,gjo->g", weights, own, weights).clamp(min=0).sqrt()


def _parameters(module: Sortable) -> dict[str, int]:
    """Parameters with inner channels, and their axis; the bias of a layer that reads them has none."""
    assert isinstance(module, nn.Module)
    weights = {f"{layer}.weight": axis for layer, axis in module.sortable.items()}
    made = [layer for layer, axis in module.sortable.items() if axis == 0]
    return weights | {f"{name}.bias": 0 for name in made if module.get_submodule(name).bias is not None}


def _reader(module: Sortable) -> str:
    """The layer that reads the inner channels."""
    return next(layer for layer, axis in module.sortable.items() if axis == 1)
