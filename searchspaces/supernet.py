"""Supernet: one set of weights for every architecture of a space.

A sub-network is the ordinary module at its own size, run on slices of the shared parameters (see `skeleton.take`), so
gradients of a sub-network reach exactly the weights inside its slices.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache, partial

import torch
from torch import Tensor, nn

from searchspaces.architecture import Architecture, Placement
from searchspaces.drop_path import dropped
from searchspaces.extremes import extremes
from searchspaces.placements import Placements, Unit
from searchspaces.pretrained import Weights, translated
from searchspaces.skeleton import Role, Skeleton, averaging, roles, skeleton, take
from searchspaces.space import SearchSpace
from searchspaces.wiring import execute, steps


class Supernet(nn.Module):
    """Shared parameters of all blocks at all places of a space, each as large as its largest use.

    Args:
        placements: the blocks that the space can put at each place.

    Raises:
        ValueError: no single block has the largest shape of a parameter in all its axes.
    """

    def __init__(self, placements: Placements) -> None:
        super().__init__()
        self.progress = 1.0
        """How much of a training is done, for blocks that change on the way; sub-networks are made as of now."""
        self.drop_path = 0.0
        """Probability with which a path of a graph is left out of a pass that trains, at the end of the training."""
        self.losses: list[Tensor] | None = None
        """Where sub-networks put the losses of their own modules; see `collecting`."""
        for path, units in placements.by_path.items():
            for key, tensor in _largest(units).items():
                self.register_parameter(_name(path, key), nn.Parameter(tensor))

    def shared(self, path: str, role: Role) -> Tensor:
        """The slice of the shared parameter for a role at a place."""
        return take(role, self.whole(path, role.key))

    def whole(self, path: str, key: str) -> nn.Parameter:
        """The shared parameter for a key at a place."""
        return self._parameters[_name(path, key)]  # type: ignore[return-value]

    def frozen(self) -> Supernet:
        """A copy of its own that is not trained."""
        return copy.deepcopy(self).requires_grad_(False)

    def subnet(self, architecture: Architecture) -> Subnet:
        """The sub-network of an architecture, with normalization statistics of its own."""
        subnet = Subnet(self, architecture)
        subnet.progress(self.progress)
        return subnet

    @contextmanager
    def collecting(self) -> Iterator[list[Tensor]]:
        """In this context the list is given the losses of modules that have their own (see `Auxiliary`).

        Every pass of a sub-network in training mode adds to it, where gradients are recorded. Who back-propagates them
        empties the list, so that nothing outlives its step.
        """
        losses: list[Tensor] = []
        self.losses = losses
        try:
            yield losses
        finally:
            self.losses = None
            losses.clear()

    def specialize(self, architecture: Architecture) -> Supernet:
        """A supernet of this one architecture, starting from its slices: for fine-tuning it alone."""
        alone = Supernet(Placements(SearchSpace(architecture.input_shape, architecture.layers)))
        alone.adopt(architecture, self.subnet(architecture).state())
        return alone

    @classmethod
    def from_pretrained(
        cls, placements: Placements, weights: Weights, names: Mapping[str, str] | None = None
    ) -> Supernet:
        """A supernet whose largest sub-network computes what a trained network computes.

        Every smaller one is a part of it, as in LLaMA-NAS (arXiv:2405.18377) and SimQ-NAS (arXiv:2312.13301);
        `importance.sort_channels` makes it the important part.

        Args:
            placements: of a space whose largest architecture is the trained network.
            weights: the module, its state dict or a safetensors file of one.
            names: beginnings of names in the weights, and what stands for them in `pretrained.LAYOUTS`.

        Raises:
            PretrainedError: the weights do not fit the largest architecture.
        """
        supernet = cls(placements)
        largest = placements.space.decode(extremes(placements)[1])
        supernet.adopt(largest, translated(weights, largest, names))
        return supernet

    @torch.no_grad()
    def adopt(self, architecture: Architecture, state: Mapping[str, Tensor]) -> None:
        """Sets an architecture's slices to the parameters in a state dict of `architecture.build()`."""
        for index, placement in enumerate(architecture.blocks()):
            for name, role in skeleton(placement.part, placement.shape).roles.items():
                self.shared(placement.path, role).copy_(state[f"{index}.{name}"])

    def forward(self, x: Tensor) -> Tensor:
        """A supernet computes nothing by itself."""
        raise TypeError("run a sub-network: supernet.subnet(architecture)(x)")


class Subnet(nn.Module):
    """A sub-network: skeletons on slices of the shared weights.

    Its parameters are the supernet's and are not registered here; its buffers (statistics, observers) are its own.
    """

    def __init__(self, supernet: Supernet, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self._supernet = (supernet,)
        self._blocks: list[tuple[Placement, Skeleton]] = []
        trace = architecture.traced()
        self._steps = steps(trace.wires)
        self._paths = frozenset(trace.paths)
        self._drop_path = 0.0
        for index, placement in enumerate(trace.placements):
            block = skeleton(placement.part, placement.shape)
            self._blocks.append((placement, block))
            for name, buffer in block.buffers.items():
                self.register_buffer(_name(str(index), name), buffer.clone())

    def progress(self, fraction: float) -> None:
        """Tells blocks that change while they are trained how much of the training is done, from 0 to 1.

        So rises the probability of drop-path (ScheduledDropPath: Zoph et al., 2018, arXiv:1707.07012, section 4.1).
        """
        self._drop_path = fraction * self._supernet[0].drop_path
        for index, (_, block) in enumerate(self._blocks):
            if block.progressive:
                block.place(self.statistics(index))
                for part in block.progressive:
                    part.progress(fraction)

    def weights(self, index: int) -> dict[str, Tensor]:
        """The parameters of block number `index`, as slices of the shared ones."""
        placement, block = self._blocks[index]
        return {name: self._supernet[0].shared(placement.path, role) for name, role in block.roles.items()}

    def statistics(self, index: int) -> dict[str, Tensor]:
        """The buffers of block number `index`: normalization statistics, observed ranges, constants."""
        _, block = self._blocks[index]
        return {name: self._buffers[_name(str(index), name)] for name in block.buffers}  # type: ignore[misc]

    def forward(self, x: Tensor) -> Tensor:
        """[b *input_shape] -> the last block's output."""
        if not (self.training and torch.is_grad_enabled()):
            return execute(self._steps, partial(self._run, None), x)
        return execute(self._steps, partial(self._train, self._supernet[0].losses), x)

    def _run(self, losses: list[Tensor] | None, index: int, *inputs: Tensor) -> Tensor:
        """The output of block number `index`; the block's own losses are added to the list."""
        tensors = {**self.weights(index), **self.statistics(index)}
        return self._blocks[index][1].run(tensors, inputs, self.training, losses)

    def _train(self, losses: list[Tensor] | None, index: int, *inputs: Tensor) -> Tensor:
        """The same in a pass that trains: paths may be left out."""
        output = self._run(losses, index, *inputs)
        return dropped(output, self._drop_path) if self._drop_path and index in self._paths else output

    def recalibrate(self, batches: Iterable[Tensor]) -> None:
        """Sets normalization statistics and observed ranges to those of the batches, and turns to evaluation mode.

        Statistics are averages over the batches, not moving ones: those of shared weights fit no sub-network (Yu and
        Huang, arXiv:1903.05134, section 3.3). Blocks that change while they are trained are as at its end.

        Args:
            batches: inputs [b *input_shape].
        """
        for index, (_, block) in enumerate(self._blocks):
            for name, buffer in self.statistics(index).items():
                buffer.copy_(block.buffers[name])
        self.train()
        with torch.no_grad(), averaging(block.module for _, block in self._blocks):
            for batch in batches:
                self(batch)
        self.eval()

    def state(self) -> dict[str, Tensor]:
        """A state dict for `architecture.build()`: copies of the slices and of the own buffers."""
        state = {}
        for index, (_, block) in enumerate(self._blocks):
            tensors = {**self.statistics(index), **self.weights(index)}
            for name in block.module.state_dict():
                state[f"{index}.{name}"] = tensors[name].detach().clone(memory_format=torch.contiguous_format)
        return state


def _name(path: str, key: str) -> str:
    """A parameter's name; attribute names cannot hold dots."""
    return f"{path}|{key}".replace(".", "/")


def _largest(units: list[Unit]) -> dict[str, Tensor]:
    """For each key that blocks at one place share: a freshly initialized tensor as large as its largest use."""
    shapes: dict[str, tuple[int, ...]] = {}
    for unit in units:
        for key, shape in _shapes(unit):
            shapes[key] = tuple(map(max, shapes.get(key, shape), shape))
    tensors: dict[str, Tensor] = {}
    for unit in sorted(units, key=lambda unit: -sum(torch.Size(shape).numel() for _, shape in _shapes(unit))):
        if any(key not in tensors and shape == shapes[key] for key, shape in _shapes(unit)):
            tensors = {**_initialized(unit.part.build(unit.shape), shapes), **tensors}
    missing = sorted(shapes.keys() - tensors.keys())
    if missing:
        raise ValueError(f"no block has the largest shape {shapes[missing[0]]} of the shared parameter {missing[0]}")
    return tensors


@lru_cache(maxsize=16384)
def _shapes(unit: Unit) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Keys and shapes of a unit's parameters."""
    return tuple((role.key, role.shape) for role in skeleton(unit.part, unit.shape).roles.values())


def _initialized(module: nn.Module, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """The module's parameters that have the largest shape, by key."""
    parameters = dict(module.named_parameters())
    found = {role.key: parameters[name].detach() for name, role in roles(module).items()}
    return {key: tensor.clone() for key, tensor in found.items() if tuple(tensor.shape) == shapes[key]}
