"""Training: how the shared weights of a supernet are trained."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from nas.training._schedule import schedule
from searchspaces.architecture import Architecture
from searchspaces.part import Part
from searchspaces.placements import Placements
from searchspaces.space import Genes

if TYPE_CHECKING:
    from torch import Tensor

    from nas.tasks._loaded import LoadedTask, TensorBatch
    from searchspaces.supernet import Subnet, Supernet


class CheckpointError(Exception):
    """A checkpoint that cannot be read, or belongs to other weights."""


@dataclass(eq=False)
class Trainee:
    """A supernet with what its training needs to know."""

    supernet: Supernet
    placements: Placements
    task: LoadedTask
    teacher: Supernet | None = None
    """Frozen weights that a training distils from; kept in its checkpoint."""
    epoch: int = 0
    """The epoch that is being trained."""

    @cached_property
    def orders(self) -> list[list[int]]:
        """The options of each decision from small to large."""
        from searchspaces.extremes import orders

        return orders(self.placements)

    @cached_property
    def extremes(self) -> tuple[Architecture, Architecture]:
        """The smallest and the largest architecture."""
        return self.decoded([order[0] for order in self.orders]), self.decoded([order[-1] for order in self.orders])

    @cached_property
    def _macs(self) -> npt.NDArray[np.float64]:
        """The MACs of each unit."""
        from searchspaces.cost import cost

        return self.placements.tabulate(lambda unit: cost(unit.part, unit.shape).macs)

    def macs(self, rows: Genes) -> npt.NDArray[np.float64]:
        """The multiply-accumulates of canonical rows: [n, decisions] -> [n]."""
        return self._macs[self.placements.of(rows)].sum(axis=1)

    def decoded(self, row: Sequence[int] | Genes) -> Architecture:
        """The architecture of a row; inactive decisions do not matter."""
        return self.placements.space.decode(np.asarray(row, dtype=np.int64))

    def sample(self, rng: np.random.Generator, count: int) -> list[Architecture]:
        """Architectures drawn uniformly over the space."""
        space = self.placements.space
        return [space.decode(row) for row in space.sample(rng, count)]

    def subnet(self, architecture: Architecture) -> Subnet:
        """A sub-network in training mode."""
        subnet = self.supernet.subnet(architecture)
        subnet.train()
        return subnet


class Training(Part):
    """A schedule for shared weights: AdamW with a warm-up and a cosine schedule, whatever sub-networks a step takes."""

    epochs: Annotated[int, Field(ge=0)] = 50
    batch_size: Annotated[int, Field(ge=1)] = 64
    learning_rate: Annotated[float, Field(gt=0)] = 3e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.02
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Share of the steps during which the learning rate rises linearly."""
    clip: Annotated[float, Field(gt=0)] = 5.0
    """Largest norm of the gradient of one step."""
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Probability with which a path of a cell is left out for a sample at the end; it rises linearly from 0."""

    @abstractmethod
    def losses(self, trainee: Trainee, batch: TensorBatch, rng: np.random.Generator) -> Iterator[Tensor]:
        """The losses of one step; each is back-propagated before the next is asked for, and their gradients add up.

        What modules of the sub-networks add to them (`searchspaces.skeleton.Auxiliary`) is not the training's concern.
        """

    def begin(self, trainee: Trainee, epoch: int) -> bool:
        """What is done to the weights before an epoch; returns whether the optimizer begins anew."""
        return False

    def rate(self, progress: float) -> float:
        """The learning rate when this share of all steps is done, in (0, 1]."""
        return self.learning_rate * schedule(progress, self.warmup)
