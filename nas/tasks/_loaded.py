"""A task with its data in memory: batches, losses and the error by which networks are judged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from nas.data._augmentation import Augmentation
from nas.data._images import Batch, Images, Splits
from searchspaces.part import Shape

TensorBatch = tuple[Tensor, Tensor]
"""Inputs float32 [b c h w], standardized, and targets int64 [b]."""


class LoadedTask(ABC):
    """Splits of images with a loss and an error.

    A batch depends on (seed, epoch) and the task alone, not on what was drawn before it: training resumes exactly.
    """

    def __init__(self, splits: Splits, outputs: int, augmentation: Augmentation) -> None:
        self.splits = splits
        self.outputs = outputs
        self.augmentation = augmentation

    @abstractmethod
    def loss(self, logits: Float[Tensor, "b k"], targets: Int[Tensor, "b"]) -> Float[Tensor, ""]:
        """The training loss, averaged over the batch."""

    @abstractmethod
    def distillation_loss(
        self, student_logits: Float[Tensor, "b k"], teacher_logits: Float[Tensor, "b k"]
    ) -> Float[Tensor, ""]:
        """How far a network is from its teacher, averaged over the batch; no gradient reaches the teacher."""

    @abstractmethod
    def error(self, logits: Float[Tensor, "b k"], targets: Int[Tensor, "b"]) -> float:
        """What the search minimizes, from 0 (right throughout) to 1; for a whole split, give all its logits."""

    def signature(self) -> tuple[Shape, int]:
        """The shape (c, h, w) of one input and the number of outputs of the network to build."""
        return self.splits.shape, self.outputs

    def steps(self, batch_size: int) -> int:
        """The number of batches in an epoch: the images that fill no batch wait for another epoch's shuffle."""
        return max(1, len(self.splits.train) // batch_size)

    def train_batches(self, seed: int, epoch: int, batch_size: int) -> Iterator[TensorBatch]:
        """One epoch of shuffled and augmented training batches, a function of its arguments."""
        order = np.random.default_rng((seed, epoch)).permutation(len(self.splits.train))
        generator = torch.Generator().manual_seed(int(np.random.SeedSequence((seed, epoch)).generate_state(1)[0]))
        for batch in self.splits.train.batches(batch_size, order[: self.steps(batch_size) * batch_size]):
            inputs, targets = _tensors(batch)
            yield self.augmentation(inputs, generator), targets

    def validation(self, batch_size: int = 256) -> Iterator[TensorBatch]:
        """The images by which the search judges."""
        return _in_order(self.splits.validation, batch_size)

    def calibration(self, batch_size: int = 256) -> Iterator[TensorBatch]:
        """Training images, not augmented, for normalization statistics and quantization ranges."""
        return _in_order(self.splits.calibration, batch_size)

    def test(self, batch_size: int = 256) -> Iterator[TensorBatch]:
        """The images that are reported on, used for nothing before."""
        return _in_order(self.splits.test, batch_size)


def _in_order(images: Images, batch_size: int) -> Iterator[TensorBatch]:
    """Batches in the stored order; the last one may be smaller."""
    return map(_tensors, images.batches(batch_size))


def _tensors(batch: Batch) -> TensorBatch:
    """A batch as tensors."""
    return torch.from_numpy(batch[0]), torch.from_numpy(batch[1])
