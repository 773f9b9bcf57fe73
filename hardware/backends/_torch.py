"""Backends that run networks in PyTorch: they differ in what they make of a module."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export.passes import move_to_device_pass

from hardware.backends._cuda import CudaBackend
from hardware.backends._local import Prepared, float_module
from hardware.backends._role import Workload
from hardware.measurement import Failure, MeasurementError

Function = Callable[[Tensor], Tensor]

_ERRORS = (RuntimeError, MemoryError, OSError, AssertionError, ValueError)


class TorchBackend(CudaBackend):
    """Runs modules in float32: fake quantization is never timed, so integer policies cost as float."""

    @abstractmethod
    def function(self, module: nn.Module, sample: Tensor) -> Function:
        """What is run for a module in evaluation mode on batches like the sample, both on the backend's device."""

    def prepared(self, jobs: Sequence[Workload]) -> Iterator[Prepared | MeasurementError]:
        """Each job's module, in evaluation mode."""
        return map(self._prepare, jobs)

    def prepared_export(self, directory: Path) -> Prepared | MeasurementError:
        """The program in `model.pt2`."""
        return self._load(directory / "model.pt2")

    @contextmanager
    def settings(self) -> Iterator[None]:
        """The thread count, and inference mode."""
        with _threads(self.threads), torch.inference_mode():
            yield

    def cuda_fault(self) -> str:
        """What torch says when it is asked for a GPU."""
        try:
            torch.cuda.init()
        except (RuntimeError, AssertionError) as error:
            return f"{error}; torch needs its CUDA build and NVIDIA's driver"
        return ""

    def _prepare(self, job: Workload) -> Prepared | MeasurementError:
        """A run of the job's network."""
        module = float_module(job)
        try:
            return self._program(module, job.architecture.input_shape, _state_bytes(module))
        except _ERRORS as error:
            return _failure(error)

    def _load(self, path: Path) -> Prepared | MeasurementError:
        """A run of an exported program."""
        try:
            program: Any = move_to_device_pass(torch.export.load(path), self.device)
            example = program.example_inputs[0][0]
            return self._program(program.module(), tuple(example.shape[1:]), path.stat().st_size)
        except _ERRORS as error:
            return _failure(error)

    def _program(self, module: nn.Module, shape: tuple[int, ...], model_bytes: int) -> Prepared:
        """A program that has run once."""
        generator = torch.Generator().manual_seed(0)
        sample = torch.randn(self.batch_size, *shape, generator=generator).to(self.device)
        function = self.function(module.to(self.device), sample)

        def run() -> None:
            function(sample)

        run()
        return Prepared(run, model_bytes, torch.cuda.synchronize if self.device == "cuda" else None)


def _state_bytes(module: nn.Module) -> int:
    """Size of the weights and buffers."""
    return sum(tensor.numel() * tensor.element_size() for tensor in module.state_dict().values())


def _failure(error: Exception) -> MeasurementError:
    """Which kind of failure torch met."""
    memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)
    unsupported = isinstance(error, NotImplementedError)
    state: Failure = "out_of_memory" if memory else "unsupported_operator" if unsupported else "compile_failed"
    return MeasurementError(state, f"{type(error).__name__}: {error}")


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Sets torch's threads within, and restores them."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
