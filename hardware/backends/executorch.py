"""ExecuTorch on the processor, through XNNPACK: what runs on phones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hardware.backends._local import LocalBackend, Prepared, float_module
from hardware.backends._role import Workload
from hardware.measurement import Failure, MeasurementError
from hardware.onnx_model import quiet

_ERRORS = (RuntimeError, MemoryError, OSError, AssertionError, ValueError, NotImplementedError)


class ExecuTorch(LocalBackend):
    """The program that XNNPACK's partitioner lowers, its other operators portable, in float32."""

    runtimes = ("torch", "executorch")
    extra = "executorch"

    def prepared(self, jobs: Sequence[Workload]) -> Iterator[Prepared | MeasurementError]:
        """A lowered program for each network."""
        return map(self._prepare, jobs)

    def prepared_export(self, directory: Path) -> Prepared | MeasurementError:
        """The lowered program of `model.pt2`."""
        try:
            program: Any = torch.export.load(directory / "model.pt2")
            example = program.example_inputs[0][0]
            return self._program(program.module(), tuple(example.shape[1:]))
        except _ERRORS as error:
            return _failure(error)

    @contextmanager
    def settings(self) -> Iterator[None]:
        """The runtime's thread count."""
        from executorch.extension.pybindings import portable_lib

        before = portable_lib._threadpool_get_thread_count()
        portable_lib._unsafe_reset_threadpool(self.threads)
        try:
            yield
        finally:
            portable_lib._unsafe_reset_threadpool(before)

    def lowered(self, module: torch.nn.Module, sample: Tensor) -> bytes:
        """The program as a file holds it, for batches like the sample."""
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        with quiet():
            traced = torch.export.export(module, (sample,))
            edge = to_edge_transform_and_lower(traced, partitioner=[XnnpackPartitioner()])
            return bytes(edge.to_executorch().buffer)

    def _prepare(self, job: Workload) -> Prepared | MeasurementError:
        """A run of the job's network."""
        module = float_module(job)
        try:
            return self._program(module, job.architecture.input_shape)
        except _ERRORS as error:
            return _failure(error)

    def _program(self, module: torch.nn.Module, shape: tuple[int, ...]) -> Prepared:
        """A program that has run once."""
        sample = torch.randn(self.batch_size, *shape, generator=torch.Generator().manual_seed(0))
        content = self.lowered(module, sample)
        program = LoadedProgram(content)

        def run() -> None:
            program.execute(sample)

        run()
        return Prepared(run, len(content))


class LoadedProgram:
    """A lowered program in the runtime, whose method does not keep alive what it points into."""

    def __init__(self, content: bytes) -> None:
        """Loads the method `forward`.

        Raises:
            RuntimeError: the runtime refuses the program.
        """
        from executorch.runtime import Runtime

        self._content = content
        self._program = Runtime.get().load_program(content)
        self._method = self._program.load_method("forward")

    def execute(self, x: Tensor) -> Tensor:
        """The output for a batch; its memory belongs to the program."""
        (output,) = self._method.execute([x])
        return output


def _failure(error: Exception) -> MeasurementError:
    """Which kind of failure ExecuTorch or the export met."""
    words = f"{type(error).__name__}: {error}"
    memory = isinstance(error, MemoryError) or "allocate memory" in words
    state: Failure = "out_of_memory" if memory else "compile_failed"
    return MeasurementError(state, words)
