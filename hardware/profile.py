"""Profile: what each block of a search space adds to a network's latency on a backend, measured once and kept.

The latency of a network is modelled as `overhead(input shape) + sum of the blocks' contributions`. The overhead is that
of the empty network. A block is measured inside a small network: behind a pointwise convolution, the *frame*, as blocks
stand behind others, so that it meets its input in the runtime's own layout. Its contribution is the latency of frame
and blocks less that of the frame; a block that keeps its shape is measured as a chain of equal ones. What the frame and
the conversions at both ends cost cancels, in each difference or along the sum. A block on the network's own input has
no frame, and is compared with the empty network.

Under a budget the most informative blocks are measured first, the others are estimated (`hardware/design.py`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from hardware.backends._role import Backend, Progress, Workload
from hardware.design import BlockField, Placed
from hardware.measurement import Measurement
from hardware.store import LatencyStore
from hardware.subjects import Subject, informative, subjects, unknown, wanted
from hardware.timing import SystemClock, TimingSettings
from searchspaces.architecture import Architecture
from searchspaces.part import Shape

_BATCH = 20
_MINUTE_NS = 60e9


P = TypeVar("P", bound=Placed)


@dataclass(frozen=True)
class Profile:
    """Measured chains of blocks, and the additive model on them.

    Attributes:
        backend: what measured them.
        input_shape: of the networks that are to be predicted.
        measurements: by subject, failures among them.
    """

    backend: Backend
    input_shape: Shape
    measurements: Mapping[Subject, Measurement]

    @property
    def overhead_ms(self) -> float:
        """The latency of the empty network: call, input and output.

        Raises:
            MeasurementError: it could not be measured.
        """
        return self.measurements[Subject(None, self.input_shape, 0, framed=False)].milliseconds

    def contribution_ms(self, placed: Placed) -> float:
        """What a measured block adds to a network's latency, at least 0.

        Raises:
            MeasurementError: the block could not be measured.
        """
        return max(self._difference_ms(placed), 0.0)

    def contributions_ms(self, placed: Iterable[Placed]) -> npt.NDArray[np.float64]:
        """The contribution of each block, estimated from the others where it is not measured.

        Infinity where a block cannot be run, so that no constraint admits it.
        """
        items = list(placed)
        failed, known = set(self.failures(items)), np.array([self.measured(item) for item in items], dtype=bool)
        values = np.array(
            [
                math.inf if i in failed else self.contribution_ms(i) if k else 0.0
                for i, k in zip(items, known, strict=True)
            ]
        )
        if known.all():
            return values
        field = BlockField.of(items, self.backend.batch_size)
        return np.where(known, values, field.posterior_ms(known & np.isfinite(values), values))

    def measured(self, placed: Placed) -> bool:
        """Whether the block was measured, or failed to be; under a budget some are left out."""
        return all(subject in self.measurements for subject in subjects(self.backend, placed, self.input_shape))

    def predict_ms(self, architecture: Architecture) -> float:
        """The latency of a network whose blocks were all profiled: overhead and contributions.

        Raises:
            MeasurementError: one of them could not be measured.
        """
        return self.overhead_ms + sum(map(self.contribution_ms, architecture.blocks()))

    def failures(self, placed: Iterable[P]) -> dict[P, Measurement]:
        """The blocks that cannot be run, each with the reason."""
        found = {}
        for item in placed:
            needed = map(self.measurements.get, subjects(self.backend, item, self.input_shape))
            if failed := [measurement for measurement in needed if measurement and not measurement.ok]:
                found[item] = failed[0]
        return found

    def clipped(self, placed: Iterable[P]) -> list[P]:
        """The blocks whose measured contribution is below 0: within the noise, they cost nothing."""
        items = [item for item in placed if self.measured(item)]
        failed = self.failures(items)
        return [item for item in items if item not in failed and self._difference_ms(item) < 0]

    def _difference_ms(self, placed: Placed) -> float:
        """The contribution as measured, which noise may push below 0."""
        with_blocks, without = subjects(self.backend, placed, self.input_shape)
        difference = self.measurements[with_blocks].milliseconds - self.measurements[without].milliseconds
        return difference / with_blocks.length


@dataclass(frozen=True)
class Budget:
    """How long the blocks of a space may be measured.

    Attributes:
        minutes: no batch is begun later than this.
        usage: [n], how often a network has each of the blocks to be profiled, on average.
    """

    minutes: float
    usage: npt.NDArray[np.float64]


def profile(
    placements: Sequence[Placed],
    input_shape: Shape,
    backend: Backend,
    store: LatencyStore,
    settings: TimingSettings | None = None,
    progress: Progress | None = None,
    budget: Budget | None = None,
) -> Profile:
    """Measures what the table lacks for these blocks, and returns what it then holds for them.

    Each batch is in the table before the next begins. Failures that may pass (memory, time) are tried again, lasting
    ones are not.

    Args:
        placements: blocks with their input shapes; repetitions cost nothing.
        input_shape: of the networks that are to be predicted.
        backend: what measures.
        store: the table.
        settings: time for each chain.
        progress: called with (done, total) of the chains that are still to be measured.
        budget: where not everything may be measured.
    """
    key, every = backend.key(), wanted(backend, placements, input_shape)
    known = store.get(key)
    missing = unknown(every, known)
    clock = SystemClock()
    end = math.inf if budget is None else clock.wall_ns() + budget.minutes * _MINUTE_NS
    if budget is not None:
        missing = informative(backend, placements, input_shape, missing, budget.usage)
    for done, batch in _batches(missing):
        if clock.wall_ns() >= end and any(subject.part for subject in batch):
            break
        found = _measure(
            backend, batch, settings or TimingSettings(), _shifted(progress, done, len(missing), len(batch))
        )
        store.put(key, found)
        known.update(found)
    return Profile(backend, input_shape, {subject: known[subject.text] for subject in every if subject.text in known})


def measured_networks(
    architectures: Sequence[Architecture],
    backend: Backend,
    store: LatencyStore,
    settings: TimingSettings | None = None,
    progress: Progress | None = None,
) -> list[Measurement]:
    """The measurement of whole networks, in their order; what the table holds is not measured again."""
    key = backend.key()
    known = store.get(key)
    texts = [json.dumps({"network": architecture.describe()}, sort_keys=True) for architecture in architectures]
    missing = {text: architecture for text, architecture in zip(texts, architectures, strict=True) if text not in known}
    if missing:
        jobs = [Workload(architecture) for architecture in missing.values()]
        found = dict(zip(missing, backend.measure(jobs, settings or TimingSettings(), progress), strict=True))
        store.put(key, found)
        known.update(found)
    return [known[text] for text in texts]


def _batches(missing: Sequence[Subject]) -> Iterator[tuple[int, list[Subject]]]:
    """The subjects a few at a time, in their order; each batch with its start."""
    for start in range(0, len(missing), _BATCH):
        yield start, list(missing[start : start + _BATCH])


def _measure(
    backend: Backend, batch: Sequence[Subject], settings: TimingSettings, progress: Progress | None
) -> dict[str, Measurement]:
    """The measurements of a batch by their rows' keys."""
    measured = backend.measure([Workload(subject.architecture) for subject in batch], settings, progress)
    return {subject.text: measurement for subject, measurement in zip(batch, measured, strict=True)}


def _shifted(progress: Progress | None, before: int, total: int, size: int) -> Progress | None:
    """The progress of one batch as progress of the whole."""
    if progress is None:
        return None
    return lambda done, of: progress(before + size * done // of, total)
