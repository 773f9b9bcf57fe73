"""Group: processes that train one set of weights together, each on its share of every batch.

Gradients are averaged over the processes. What modules learn from a whole batch they still learn from all of it: batch
normalizations sum over all shares (as in Ioffe and Szegedy, arXiv:1502.03167, algorithm 1, over the whole batch),
observed ranges are those of all shares, and losses of modules see all shares. So the weights are those of one process,
up to the order in which sums are rounded.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from unittest import mock

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from nas.training import attentive
from searchspaces import skeleton
from searchspaces.quantization import integer

if TYPE_CHECKING:
    from nas.tasks._loaded import TensorBatch

T = TypeVar("T")


class GroupError(Exception):
    """Another process of the group was lost, or the batch cannot be shared evenly."""


@dataclass(frozen=True)
class Group:
    """The place of this process among those that train together; alone if not given."""

    rank: int = 0
    size: int = 1

    def share(self, batch: TensorBatch) -> TensorBatch:
        """The part of a batch that this process computes.

        Raises:
            GroupError: the parts would not be equal, so that their averages would not be those of the batch.
        """
        inputs, targets = batch
        if len(inputs) % self.size:
            raise GroupError(
                f"batches of {len(inputs)} images cannot be shared by {self.size} processes: "
                f"set training.batch_size to a multiple of {self.size}"
            )
        part = slice(self.rank * len(inputs) // self.size, (self.rank + 1) * len(inputs) // self.size)
        return inputs[part], targets[part]

    @contextmanager
    def synchronized(self) -> Iterator[None]:
        """In this context modules in training mode learn from the whole batch what they learn from batches."""
        if self.size == 1:
            yield
            return
        with (
            mock.patch.object(functional, "batch_norm", batch_norm),
            mock.patch.object(integer, "extent", extent),
            mock.patch.object(skeleton, "own_losses", own_losses),
            mock.patch.object(attentive, "agreed", self.mean),
        ):
            yield

    def average(self, parameters: Iterable[nn.Parameter]) -> None:
        """Averages the gradients over the processes; all have them for the same parameters."""
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = reduced(torch.cat([gradient.flatten() for gradient in gradients])) / self.size
        for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def mean(self, value: float) -> float:
        """The average of a number over the processes."""
        return value if self.size == 1 else reduced(torch.tensor(value, dtype=torch.float64)).item() / self.size

    def any(self, said: bool) -> bool:
        """Whether one of the processes says so."""
        return self.mean(said) > 0

    def agrees(self, number: int) -> bool:
        """Whether all processes say the same."""
        return not self.any(self.told(number) != number)

    def told(self, value: T) -> T:
        """What the first process says."""
        values = [value]
        if self.size > 1:
            _together(lambda: distributed.broadcast_object_list(values))
        return values[0]


ALONE = Group()


@contextmanager
def joined() -> Iterator[Group]:
    """The group that torchrun has started this process in; without it, a group of one."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Group()
        return
    distributed.init_process_group("gloo")
    try:
        yield Group(distributed.get_rank(), size)
    finally:
        distributed.destroy_process_group()


def reduced(tensor: Tensor, operation: Any = distributed.ReduceOp.SUM) -> Tensor:
    """The sum of a tensor over the processes, or another reduction.

    Raises:
        GroupError: another process was lost.
    """
    result = tensor.detach().clone(memory_format=torch.contiguous_format)
    _together(lambda: distributed.all_reduce(result, operation))
    return result


def gathered(tensor: Tensor) -> Tensor:
    """The parts [b ...] of all processes, one behind the other.

    Raises:
        GroupError: another process was lost.
    """
    parts = [
        torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(distributed.get_world_size())
    ]
    _together(lambda: distributed.all_gather(parts, tensor.detach().contiguous()))
    return torch.cat(parts)


def _together(call: Callable[[], Any]) -> None:
    """Calls what all processes call."""
    try:
        call()
    except RuntimeError as error:
        raise GroupError(
            f"another training process was lost ({error}); with --resume the same command goes on after the last epoch"
        ) from error


class Sum(torch.autograd.Function):
    """The sum over the processes. Each one's result counts in the loss, so that gradients are summed as well."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """The same [...] in every process."""
        return reduced(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """The sum of what the results are worth to each process."""
        return reduced(gradients[0])


class Gather(torch.autograd.Function):
    """The parts [b ...] of all processes; the whole counts in each one's loss, so that gradients are summed."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """The same [processes * b ...] in every process."""
        return gathered(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """This process's part of the sum."""
        return reduced(gradients[0]).chunk(distributed.get_world_size())[distributed.get_rank()]


_own_batch_norm = functional.batch_norm


def batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`torch.nn.functional.batch_norm`, over the shares [b c ...] of all processes."""
    if not training:
        return _own_batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    axes = (0, *range(2, x.ndim))
    channels = (1, -1, *[1] * (x.ndim - 2))
    count = x.numel() // x.shape[1] * distributed.get_world_size()
    mean: Tensor = Sum.apply(x.sum(axes)) / count
    centred = x - mean.view(channels)
    variance: Tensor = Sum.apply(centred.square().sum(axes)) / count
    if running_mean is not None and running_var is not None:
        running_mean.lerp_(mean.detach(), momentum)
        running_var.lerp_(variance.detach() * count / (count - 1), momentum)
    scale = (variance + eps).rsqrt() if weight is None else weight * (variance + eps).rsqrt()
    normalized = centred * scale.view(channels)
    return normalized if bias is None else normalized + bias.view(channels)


def extent(x: Tensor) -> tuple[Tensor, Tensor]:
    """The lowest and the highest value [] of all shares."""
    low, high = x.aminmax()
    return reduced(low, distributed.ReduceOp.MIN), reduced(high, distributed.ReduceOp.MAX)


def own_losses(part: skeleton.Auxiliary, *inputs: Tensor) -> Iterator[Tensor]:
    """A module's own losses of the inputs [b ...] of all processes."""
    return part.auxiliary_losses(*[Gather.apply(x) for x in inputs])
