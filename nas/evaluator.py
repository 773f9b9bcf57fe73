"""What an architecture is worth (under shared weights) and what it costs (from tables)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from predictors._role import Model
from searchspaces.cost import cost
from searchspaces.placements import Placements, Unit
from searchspaces.space import Genes, SearchSpace

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nas.tasks._loaded import LoadedTask
    from searchspaces.supernet import Subnet, Supernet

Costs = dict[str, npt.NDArray[np.float64]]


class CostTables:
    """Costs of whole populations, from what each block costs.

    `macs`, `parameters` and `model_bytes` are sums over blocks; `peak_memory_bytes` is the model and the most that one
    operator reads and writes; measured values such as `latency_ms` come from predictors.
    """

    def __init__(self, placements: Placements, predicted: Mapping[str, Model]) -> None:
        self.placements, self.predicted = placements, predicted

    @cached_property
    def _tables(self) -> Costs:
        tabulate = self.placements.tabulate
        return {
            "macs": tabulate(lambda unit: cost(unit.part, unit.shape).macs),
            "parameters": tabulate(lambda unit: cost(unit.part, unit.shape).parameters),
            "model_bytes": tabulate(stored_bytes),
            "peak": tabulate(lambda unit: cost(unit.part, unit.shape).peak_activation_bytes),
        }

    def __call__(self, matrix: Genes) -> Costs:
        """Every cost of canonical rows: [n, decisions] -> arrays [n] by name."""
        return {**self.counted(matrix), **{name: model.predict(matrix).mean for name, model in self.predicted.items()}}

    def upper(self, matrix: Genes) -> Costs:
        """The same with the upper ends of the predictions' intervals, which is what bounds are held against."""
        costs = self(matrix)
        return costs | {
            name: np.maximum(costs[name], model.interval(matrix)[1]) for name, model in self.predicted.items()
        }

    def counted(self, matrix: Genes) -> Costs:
        """The costs that are counted, not predicted."""
        units = self.placements.of(matrix)
        costs = {name: self._tables[name][units].sum(axis=1) for name in ("macs", "parameters", "model_bytes")}
        return {**costs, "peak_memory_bytes": costs["model_bytes"] + self._tables["peak"][units].max(axis=1)}


def stored_bytes(unit: Unit) -> float:
    """Bytes of a block's weights at its policy's width."""
    return cost(unit.part, unit.shape).parameters * unit.part.quantization.stored_bits / 8


class Evaluator:
    """The error of one architecture at a time on the validation images, under shared weights."""

    def __init__(self, supernet: Supernet, task: LoadedTask, space: SearchSpace) -> None:
        self.supernet, self.task, self.space = supernet, task, space
        self._distances: dict[bytes, dict[bytes, float]] = {}

    @cached_property
    def _calibration(self) -> list[Tensor]:
        return [inputs for inputs, _ in self.task.calibration()]

    def error(self, row: Genes) -> float:
        """The error of a row's architecture [decisions], its statistics recalibrated."""
        return error(self._network(row), self.task)

    def distances(self, reference: Genes, rows: Genes) -> npt.NDArray[np.float64]:
        """How far outputs on the calibration images are from those of a reference: [decisions], [n, decisions] -> [n].

        It is the mean angle between the two outputs of an image, as a share of 180 degrees; known ones are remembered.
        """
        from searchspaces.importance import angular_distance

        known = self._distances.setdefault(reference.tobytes(), {})
        missing = {key: row for row in rows if (key := row.tobytes()) not in known}
        if missing:
            expected = self._outputs(reference)
            known |= {key: float(angular_distance(self._outputs(row), expected).mean()) for key, row in missing.items()}
        return np.array([known[row.tobytes()] for row in rows])

    def _outputs(self, row: Genes) -> Tensor:
        """What a row's network gives for the calibration images."""
        import torch

        network = self._network(row)
        with torch.inference_mode():
            return torch.cat([network(inputs) for inputs in self._calibration])

    def _network(self, row: Genes) -> Subnet:
        """A row's network, its statistics recalibrated."""
        network = self.supernet.subnet(self.space.decode(row))
        network.recalibrate(self._calibration)
        return network


def error(network: nn.Module, task: LoadedTask, split: str = "validation") -> float:
    """The task's error of a network over one whole split."""
    import torch

    with torch.inference_mode():
        outputs = [(network(inputs), targets) for inputs, targets in getattr(task, split)()]
    return task.error(torch.cat([output for output, _ in outputs]), torch.cat([targets for _, targets in outputs]))
