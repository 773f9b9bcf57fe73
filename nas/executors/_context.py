"""Context: what the jobs of a run have in common, handed to each worker once."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from nas.evaluator import Evaluator
from nas.training._role import Trainee
from searchspaces.supernet import Supernet

if TYPE_CHECKING:
    from nas.config import Experiment
    from nas.tasks._loaded import LoadedTask
    from searchspaces.placements import Placements

_State = tuple["Experiment", "LoadedTask", "Placements", dict[str, npt.NDArray[np.generic]]]


class Context:
    """An experiment with its trained weights and its data.

    Weights and data are pickled as arrays, so that a pickle with buffers of its own (PEP 574) shares them between
    workers. Jobs read the shared weights and never write to them.
    """

    def __init__(self, experiment: Experiment, trainee: Trainee) -> None:
        self.experiment, self.trainee = experiment, trainee

    @cached_property
    def evaluator(self) -> Evaluator:
        """Judges architectures under the shared weights."""
        return Evaluator(self.trainee.supernet, self.trainee.task, self.trainee.placements.space)

    def __getstate__(self) -> _State:
        weights = {name: parameter.detach().numpy() for name, parameter in self.trainee.supernet.named_parameters()}
        return self.experiment, self.trainee.task, self.trainee.placements, weights

    def __setstate__(self, state: _State) -> None:
        experiment, task, placements, weights = state
        supernet = Supernet(placements)
        for name, parameter in supernet.named_parameters():
            parameter.data = torch.from_numpy(weights[name])
        self.__init__(experiment, Trainee(supernet, placements, task))  # type: ignore[misc]
