"""PyTorch without compilation, on the processor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hardware.backends._local import LocalBackend, Prepared, float_module
from hardware.backends._role import Workload
from hardware.measurement import Failure, MeasurementError


class TorchEager(LocalBackend):
    """Runs modules as they are, in float32: fake quantization is never timed, so integer policies cost as float."""

    runtimes = ("torch",)

    def prepared(self, jobs: Sequence[Workload]) -> Iterator[Prepared | MeasurementError]:
        """Each module in evaluation mode."""
        return map(self._prepare, jobs)

    def prepared_export(self, directory: Path) -> Prepared | MeasurementError:
        """The program in `model.pt2`."""
        return self._load(directory / "model.pt2")

    @contextmanager
    def settings(self) -> Iterator[None]:
        """The thread count, and inference mode."""
        with _threads(self.threads), torch.inference_mode():
            yield

    def _prepare(self, job: Workload) -> Prepared | MeasurementError:
        """A run of the job's network."""
        module = float_module(job)
        try:
            sample = torch.randn(self.batch_size, *job.architecture.input_shape, generator=_generator())
            return _prepared(module, sample, _state_bytes(module))
        except (RuntimeError, MemoryError) as error:
            return _failure(error)

    def _load(self, path: Path) -> Prepared | MeasurementError:
        """A run of an exported program."""
        try:
            program: Any = torch.export.load(path)
            example = program.example_inputs[0][0]
            sample = torch.randn(self.batch_size, *example.shape[1:], generator=_generator())
            return _prepared(program.module(), sample, path.stat().st_size)
        except (RuntimeError, MemoryError, OSError) as error:
            return _failure(error)


def _prepared(module: Callable[[Tensor], Tensor], sample: Tensor, model_bytes: int) -> Prepared:
    """A program that has run once."""

    def run() -> None:
        module(sample)

    run()
    return Prepared(run, model_bytes)


def _state_bytes(module: nn.Module) -> int:
    """Size of the weights and buffers."""
    return sum(tensor.numel() * tensor.element_size() for tensor in module.state_dict().values())


def _failure(error: BaseException) -> MeasurementError:
    """Which kind of failure torch met."""
    memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)
    unsupported = isinstance(error, NotImplementedError)
    state: Failure = "out_of_memory" if memory else "unsupported_operator" if unsupported else "compile_failed"
    return MeasurementError(state, f"{type(error).__name__}: {error}")


def _generator() -> torch.Generator:
    """The same random input every time."""
    return torch.Generator().manual_seed(0)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Sets torch's threads within, and restores them."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
