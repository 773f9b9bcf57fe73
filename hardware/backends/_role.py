"""Backend: a runtime on a device, which says what a network costs there."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from hardware.device import Device
from hardware.measurement import Measurement
from hardware.timing import TimingSettings
from searchspaces.architecture import Architecture
from searchspaces.blocks._role import Block
from searchspaces.part import Part
from searchspaces.quantization.integer import Integer
from searchspaces.quantization.none import NoQuantization

if TYPE_CHECKING:
    from torch import Tensor

Progress = Callable[[int, int], None]


class UnavailableError(Exception):
    """A part cannot be used here: its runtime or its device is missing. The message holds the mend."""


def require(name: str, packages: Sequence[str], extra: str) -> None:
    """Finds out whether packages are installed.

    Args:
        name: what needs them.
        packages: their names.
        extra: the extra of this project that installs them; empty if there is none.

    Raises:
        UnavailableError: with those that are missing, and how to get them.
    """
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        mend = f'pip install "hardware-nas[{extra}]"' if extra else f"pip install {' '.join(missing)}"
        raise UnavailableError(f"{name} needs {' and '.join(missing)}, not installed here: {mend}")


@dataclass(frozen=True)
class Workload:
    """A network to measure.

    Attributes:
        architecture: what is measured.
        state: trained weights by name; without them the weights are freshly initialized, which costs the same.
        calibration: [samples, *input_shape] for integer policies; without it, random samples.
    """

    architecture: Architecture
    state: dict[str, Tensor] | None = None
    calibration: npt.NDArray[np.float32] | None = None


class Backend(Part):
    """Measures networks in one runtime, for one batch size and thread count."""

    threads: Annotated[int, Field(ge=1)] = 1
    """Threads of one operator; set for the measurement and restored after it."""
    batch_size: Annotated[int, Field(ge=1)] = 1
    """Samples in one run; a latency is that of the whole batch."""

    runtimes: ClassVar[tuple[str, ...]] = ()
    """Packages whose version changes the latencies."""
    extra: ClassVar[str] = ""
    """The extra of this project that installs the runtimes; empty where they are installed with it."""
    supports_integer: ClassVar[bool] = False
    """Whether integer policies are deployed as integers; if not, they are measured as float32."""

    @abstractmethod
    def measure(
        self, jobs: Sequence[Workload], settings: TimingSettings, progress: Progress | None = None
    ) -> list[Measurement]:
        """The cost of each network, in the order of the jobs; a failure is a state, not an exception."""

    @abstractmethod
    def measure_export(self, directory: Path, settings: TimingSettings) -> Measurement:
        """The cost of the exported files that a user gets."""

    def kernels(self, architecture: Architecture) -> tuple[str, ...] | None:
        """The kernels that the runtime executes for a network, in order; None where it does not tell."""
        return None

    def deployed(self, part: Block) -> Block:
        """The block that stands for all that run alike: integer policies of any width are deployed in eight bits."""
        integer = part.quantization.integer and self.supports_integer
        return part.model_copy(update={"quantization": Integer() if integer else NoQuantization()})

    def check(self) -> None:
        """Finds out whether anything can be measured here.

        Raises:
            UnavailableError: with the reason and its mend.
        """
        require(self.kind(), self.runtimes, self.extra)

    def key(self, device: Device | None = None) -> str:
        """All that latencies of this backend depend on, as stable JSON text.

        Raises:
            UnavailableError: the backend cannot measure here.
        """
        self.check()
        return (device or Device.here()).key(self.runtimes, backend=self.describe())
