"""Training: how the shared weights of a supernet are trained."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from searchspaces.architecture import Architecture
from searchspaces.part import Part
from searchspaces.placements import Placements

if TYPE_CHECKING:
    from torch import Tensor

    from nas.tasks._loaded import LoadedTask, TensorBatch
    from searchspaces.supernet import Subnet, Supernet


class CheckpointError(Exception):
    """A checkpoint that cannot be read, or belongs to other weights."""


@dataclass(frozen=True)
class Trainee:
    """A supernet with what its training needs to know."""

    supernet: Supernet
    placements: Placements
    task: LoadedTask

    @cached_property
    def extremes(self) -> tuple[Architecture, Architecture]:
        """The smallest and the largest architecture."""
        from searchspaces.extremes import extremes

        smallest, largest = extremes(self.placements)
        return self.placements.space.decode(smallest), self.placements.space.decode(largest)

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

    @abstractmethod
    def losses(self, trainee: Trainee, batch: TensorBatch, rng: np.random.Generator) -> Iterator[Tensor]:
        """The losses of one step; each is back-propagated before the next is asked for.

        What modules of the sub-networks add to them (`searchspaces.skeleton.Auxiliary`) is not the training's concern.
        """
