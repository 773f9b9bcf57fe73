"""The training loop: epochs, optimizer, schedule, checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from nas.files import write_atomic
from nas.progress import Progress
from nas.training._group import ALONE, Group
from nas.training._role import CheckpointError, Trainee, Training

if TYPE_CHECKING:
    from nas.tasks._loaded import TensorBatch

_MOMENTS = ("exp_avg", "exp_avg_sq")


class Fit:
    """Trains shared weights, resuming from the checkpoint where there is one.

    Batches, sub-networks, the learning rate and the random numbers of modules depend on (seed, epoch, step) alone, so a
    resumed training ends with the weights of an uninterrupted one. So does the progress, which the supernet tells to
    blocks that change while they are trained: it rises from 0 to 1, or stays 1 where `tuning` weights that are trained
    already. Losses of modules that have their own are added to those of the training, whichever it is. The processes of
    a group each compute their share of every batch; the first of them writes the checkpoints.
    """

    def __init__(
        self,
        training: Training,
        trainee: Trainee,
        seed: int,
        checkpoint: Path | None = None,
        tuning: bool = False,
        group: Group = ALONE,
    ) -> None:
        self.training, self.trainee, self.seed, self.checkpoint = training, trainee, seed, checkpoint
        self.tuning, self.group = tuning, group
        trainee.supernet.drop_path = training.drop_path
        self.parameters = dict(trainee.supernet.named_parameters())
        self.optimizer = _optimizer(self.parameters, training)
        self.history: list[float] = []
        if checkpoint is not None and checkpoint.exists():
            self._load(checkpoint)

    @property
    def done(self) -> bool:
        """Whether all epochs are trained."""
        return len(self.history) >= self.training.epochs

    def run(self, progress: Progress, name: str = "train", check: Callable[[], None] = lambda: None) -> None:
        """Trains to the last epoch; `check` may raise after an epoch, when its checkpoint is written."""
        if not self.group.agrees(len(self.history)):
            raise CheckpointError(
                f"{self.checkpoint}: not all processes see it; keep runs on a file system that they share"
            )
        if not self.training.epochs:
            self._save()
        if self.done:
            return
        with progress.phase(name, total=self.training.epochs, done=len(self.history)) as phase:
            while not self.done:
                self.history.append(self._epoch(len(self.history)))
                self._save()
                phase.advance(note=f"loss {self.history[-1]:.3f}")
                check()

    def _epoch(self, epoch: int) -> float:
        """One pass over the training images; returns the mean loss of each step's first network."""
        losses = []
        self.trainee.epoch = epoch
        if self.training.begin(self.trainee, epoch):
            self.optimizer = _optimizer(self.parameters, self.training)
        batches = self.trainee.task.train_batches(self.seed, epoch, self.training.batch_size)
        with torch.random.fork_rng(devices=[]):
            for step, batch in enumerate(batches):
                losses.append(self._step(batch, epoch, step))
        return self.group.mean(float(np.mean(losses)))

    def _step(self, batch: TensorBatch, epoch: int, step: int) -> float:
        """One update; returns the loss of its first network."""
        source = np.random.SeedSequence((self.seed, epoch, step))
        torch.manual_seed(int(source.generate_state(1)[0]))
        self.optimizer.zero_grad()
        self.trainee.supernet.progress = 1.0 if self.tuning else self._progress(epoch, step)
        with self.group.synchronized():
            loss = self._backward(self.group.share(batch), np.random.default_rng(source))
        self.group.average(self.parameters.values())
        self._update(epoch, step)
        return loss

    def _backward(self, batch: TensorBatch, rng: np.random.Generator) -> float:
        """Gradients of one step, of the task's losses and of the modules' own; returns the first of the task's."""
        losses = []
        with self.trainee.supernet.collecting() as auxiliary:
            for loss in self.training.losses(self.trainee, batch, rng):
                sum(auxiliary, loss).backward()
                auxiliary.clear()
                losses.append(loss.item())
        return losses[0]

    def _progress(self, epoch: int, step: int) -> float:
        """Share of all steps that are done with this one."""
        steps = self.trainee.task.steps(self.training.batch_size)
        return (epoch * steps + step + 1) / (self.training.epochs * steps)

    def _update(self, epoch: int, step: int) -> None:
        """One step of the optimizer at the schedule's learning rate."""
        rate = self.training.rate(self._progress(epoch, step))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        nn.utils.clip_grad_norm_(self.parameters.values(), self.training.clip, error_if_nonfinite=True)
        self.optimizer.step()

    def _save(self) -> None:
        """Weights and optimizer state, and the teacher's weights while they are needed, atomically."""
        path = self.checkpoint
        if path is None or self.group.rank:
            return
        tensors = {f"weight.{name}": parameter.detach() for name, parameter in self.parameters.items()}
        for name, parameter in self.parameters.items():
            state = self.optimizer.state.get(parameter, {})
            tensors |= {f"{key}.{name}": value for key, value in state.items()}
        if self.trainee.teacher is not None and not self.done:
            tensors |= {f"teacher.{name}": tensor for name, tensor in self.trainee.teacher.named_parameters()}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, save(tensors, metadata={"history": json.dumps(self.history), "seed": str(self.seed)}))

    def _load(self, path: Path) -> None:
        """Restores what `_save` wrote."""
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                self.history = json.loads(file.metadata()["history"])
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise CheckpointError(f"{path}: cannot be read ({error}); delete it to train again") from error
        if {name.partition(".")[2] for name in tensors} != self.parameters.keys():
            raise CheckpointError(f"{path}: belongs to another search space; delete it to train again")
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(tensors[f"weight.{name}"])
                state: dict[str, Tensor] = {
                    key: tensors[f"{key}.{name}"] for key in (*_MOMENTS, "step") if f"{key}.{name}" in tensors
                }
                if state:
                    self.optimizer.state[parameter] = state
        if any(name.startswith("teacher.") for name in tensors):
            self.trainee.teacher = self.trainee.supernet.frozen()
            self.trainee.teacher.load_state_dict({name: tensors[f"teacher.{name}"] for name in self.parameters})


def _optimizer(parameters: dict[str, nn.Parameter], training: Training) -> torch.optim.AdamW:
    """AdamW, without weight decay on vectors (biases and normalization)."""
    matrices = [parameter for parameter in parameters.values() if parameter.ndim > 1]
    vectors = [parameter for parameter in parameters.values() if parameter.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": training.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=training.learning_rate, foreach=True)
