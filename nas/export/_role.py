"""Format: one way of writing a trained network to files."""

from __future__ import annotations

import copy
from abc import abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from searchspaces.part import Part

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor, nn

    from hardware.backends._role import Backend
    from nas.tasks._loaded import LoadedTask
    from searchspaces.architecture import Architecture
    from searchspaces.quantization._role import QuantizationPolicy


class ExportError(RuntimeError):
    """A written file does not do what the trained network does."""


@dataclass(frozen=True)
class Deployable:
    """A trained architecture with all that its files need to know.

    Attributes:
        architecture: what was found.
        state: a state dict for `architecture.build()`, the ranges that quantization observed among it.
        task: what it was trained for, with its calibration and test images.
        backend: where it is to run.
        values: what the search believed of it, by name: error, latency_ms, ...
    """

    architecture: Architecture
    state: dict[str, Tensor]
    task: LoadedTask
    backend: Backend
    values: dict[str, float] = field(default_factory=dict)

    @cached_property
    def network(self) -> nn.Sequential:
        """The network in float32 and evaluation mode, with its weights.

        Raises:
            RuntimeError: weights are missing, or have another shape.
        """
        network = _built(self.architecture, quantize=False)
        network.load_state_dict({name: self.state[name] for name in network.state_dict() if name in self.state})
        return network.eval()

    @cached_property
    def inference(self) -> nn.Sequential:
        """The same network in its inference form."""
        from searchspaces.fused import fused

        return cast("nn.Sequential", fused(self.network))

    @cached_property
    def network_on_grid(self) -> nn.Sequential:
        """The inference form, with each weight of an integer block on the grid that its policy rounds to.

        Raises:
            RuntimeError: weights are missing, or have another shape.
        """
        network = copy.deepcopy(self.inference)
        for place, module in zip(self.architecture.blocks(), network, strict=True):
            _snap(module, place.part.quantization)
        return network

    @cached_property
    def integer_blocks(self) -> list[int]:
        """Numbers of the blocks that compute in integers when deployed."""
        blocks = self.architecture.blocks()
        return [index for index, place in enumerate(blocks) if place.part.quantization.integer]

    @cached_property
    def calibration(self) -> npt.NDArray[np.float32]:
        """Standardized calibration images [n c h w]."""
        import torch

        return torch.cat([inputs for inputs, _ in self.task.calibration()]).numpy()


class Format(Part):
    """One file of a bundle, and how it is used.

    Attributes:
        file: its name in the bundle.
        title: what it is, for the model card.
        load: Python that loads the file from the current folder; empty where the file is not used by itself.
        run: Python that turns standardized images `x`, a float32 array [b c h w], into an array `logits` [b k].
        exact: whether its outputs are those of the float32 network, up to rounding.
    """

    file: ClassVar[str]
    title: ClassVar[str]
    load: ClassVar[str] = ""
    run: ClassVar[str] = ""
    exact: ClassVar[bool] = True

    @abstractmethod
    def write(self, model: Deployable, folder: Path) -> list[Path]:
        """Writes the files, each at once or not at all, and returns them; none where the format does not apply.

        Raises:
            MeasurementError: the format refuses the network, for a reason that belongs in the model card.
            OSError: the folder cannot be written.
        """

    def batch_size(self, folder: Path) -> int | None:
        """The one batch size that the written file takes; None where it takes any."""
        return None


def _built(architecture: Architecture, quantize: bool) -> nn.Sequential:
    """The network, freshly initialized; the global random state stays as it is."""
    import torch

    with torch.random.fork_rng(devices=[]):
        return architecture.build(quantize=quantize)


def _snap(module: nn.Module, policy: QuantizationPolicy) -> None:
    """Puts the weights that a policy reaches on their grid."""
    quantized: dict[str, Any] = dict(policy.prepare(copy.deepcopy(module)).named_modules())
    for name, layer in module.named_modules():
        quantizer: Any = getattr(quantized[name], "observer", None)
        if hasattr(quantizer, "quantize_weight"):
            weight = cast("nn.Parameter", layer.weight)
            weight.data = quantizer.quantize_weight(weight).detach()
