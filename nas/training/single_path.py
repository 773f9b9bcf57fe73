"""One random sub-network in each step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from nas.training._role import Trainee, Training

if TYPE_CHECKING:
    from torch import Tensor

    from nas.tasks._loaded import TensorBatch


class SinglePath(Training):
    """Each step trains one sub-network, drawn uniformly (Guo et al., 2019, arXiv:1904.00420, section 3.2).

    Uniform is over the architectures. In a space of one architecture this is its plain training.
    """

    def losses(self, trainee: Trainee, batch: TensorBatch, rng: np.random.Generator) -> Iterator[Tensor]:
        """The sub-network's loss against the labels."""
        inputs, targets = batch
        (architecture,) = trainee.sample(rng, 1)
        yield trainee.task.loss(trainee.subnet(architecture)(inputs), targets)

    @classmethod
    def alone(cls, training: Training, epochs: int, learning_rate: float | None = None) -> SinglePath:
        """How one architecture is trained alone, with the optimizer of a training of shared weights.

        Args:
            training: of the shared weights.
            epochs: for the one architecture.
            learning_rate: its own, where the training's is not right.
        """
        kept = {name: getattr(training, name) for name in Training.model_fields}
        return cls(**{**kept, "epochs": epochs, "learning_rate": learning_rate or training.learning_rate})
