"""An analytic model of a processor: exact, deterministic, and needing no hardware."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from hardware.backends._role import Backend, Progress, Workload
from hardware.device import Device
from hardware.measurement import Measurement, MeasurementError
from hardware.timing import TimingSettings
from searchspaces.architecture import Architecture, Placement
from searchspaces.cost import architecture_cost, cost

_FLOAT_BYTES = 4
_INTEGER_BYTES = 1


class Roofline(Backend):
    """The roofline model (Williams et al. 2009): a block is bound by arithmetic or by memory, plus launch overheads."""

    peak_gmacs: Annotated[float, Field(gt=0)] = 40.0
    """Greatest rate of float32 multiply-accumulates of one thread, in 10^9 per second."""
    bandwidth_gb: Annotated[float, Field(gt=0)] = 10.0
    """Memory traffic in 10^9 bytes per second, shared by the threads."""
    overhead_us: Annotated[float, Field(ge=0)] = 2.0
    """Microseconds for each kernel, and once for each run."""
    integer_speedup: Annotated[float, Field(gt=0)] = 4.0
    """Peak of int8 over that of float32."""

    supports_integer = True

    def measure(
        self, jobs: Sequence[Workload], settings: TimingSettings, progress: Progress | None = None
    ) -> list[Measurement]:
        """The model's value for each network."""
        measurements = []
        for done, job in enumerate(jobs, 1):
            measurements.append(self.estimate(job.architecture))
            if progress:
                progress(done, len(jobs))
        return measurements

    def measure_export(self, directory: Path, settings: TimingSettings) -> Measurement:
        """The model's value for the architecture in `config.json`."""
        try:
            data = json.loads((directory / "config.json").read_text())["architecture"]
            return self.estimate(Architecture.parse(data))
        except (OSError, ValueError, KeyError) as error:
            return Measurement.failed(MeasurementError("compile_failed", f"config.json: {error!r}"))

    def estimate(self, architecture: Architecture) -> Measurement:
        """Latency, model size and greatest working memory of a network."""
        blocks = architecture.blocks()
        weights = sum(
            cost(part, shape).parameters * self._bytes(part.quantization.integer) for _, part, shape in blocks
        )
        peak = architecture_cost(architecture).peak_activation_bytes * self.batch_size
        latency_us = self.overhead_us + sum(map(self._microseconds, blocks))
        return Measurement.exactly(latency_us / 1e3, model_bytes=weights, peak_memory_bytes=weights + peak)

    def key(self, device: Device | None = None) -> str:
        """The model's numbers; the machine does not matter."""
        return json.dumps(self.describe(), sort_keys=True)

    def _microseconds(self, placement: Placement) -> float:
        """max(arithmetic, memory) + kernels for one block."""
        block, integer = cost(placement.part, placement.shape), placement.part.quantization.integer
        peak = self.peak_gmacs * self.threads * (self.integer_speedup if integer else 1.0)
        activations = block.activation_bytes * self.batch_size / _FLOAT_BYTES
        traffic = (block.parameters + activations) * self._bytes(integer)
        arithmetic_us = block.macs * self.batch_size / peak / 1e3
        return max(arithmetic_us, traffic / self.bandwidth_gb / 1e3) + block.kernels * self.overhead_us

    @staticmethod
    def _bytes(integer: bool) -> int:
        """Bytes of a number; integers are deployed in eight-bit containers."""
        return _INTEGER_BYTES if integer else _FLOAT_BYTES
