"""Profile: what each block of a search space adds to a network's latency on a backend, measured once and kept.

The latency of a network is modelled as `overhead(input shape) + sum of the blocks' contributions`. The overhead is that
of the empty network. A block that keeps its shape is measured within chains of equal blocks: the difference between a
long and a short chain is the block among its like, without what a network pays once (the call, and the conversion of
its input and output to the runtime's layout). Any other block is measured alone, less the overhead.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from hardware.backends._role import Backend, Progress, Workload
from hardware.measurement import Measurement
from hardware.store import LatencyStore
from hardware.timing import TimingSettings
from searchspaces.architecture import Architecture
from searchspaces.blocks._role import Block
from searchspaces.part import Shape
from searchspaces.quantization.none import NoQuantization

LONG = 4
"""Blocks in the long chain of a block that keeps its shape."""
_BATCH = 64
_PASSING = ("out_of_memory", "timeout")


class Placed(Protocol):
    """A block and the shape of one of its input samples: a `Placement` or a `Unit`."""

    @property
    def part(self) -> Block:
        """The block."""

    @property
    def shape(self) -> Shape:
        """Of one input sample."""


P = TypeVar("P", bound=Placed)


@dataclass(frozen=True)
class Subject:
    """What one row of the table measures: a chain of equal blocks; without a block the empty network."""

    part: Block | None
    shape: Shape
    length: int

    @property
    def text(self) -> str:
        """The row's key: stable JSON."""
        part = None if self.part is None else self.part.describe()
        return json.dumps({"part": part, "shape": self.shape, "chain": self.length}, sort_keys=True)

    @property
    def plain(self) -> str:
        """The same for all quantization policies."""
        part = None if self.part is None else self.part.model_copy(update={"quantization": NoQuantization()}).describe()
        return json.dumps(part, sort_keys=True)

    @property
    def architecture(self) -> Architecture:
        """The network to measure."""
        return Architecture(self.shape, () if self.part is None else (self.part,) * self.length)


@dataclass(frozen=True)
class Profile:
    """Measured chains of blocks, and the additive model on them.

    Attributes:
        backend: what measured them.
        measurements: by subject, failures among them.
    """

    backend: Backend
    measurements: Mapping[Subject, Measurement]

    def overhead_ms(self, shape: Shape) -> float:
        """The latency of the empty network: call, input and output.

        Raises:
            MeasurementError: it could not be measured.
        """
        return self._milliseconds(None, shape, 0)

    def contribution_ms(self, placed: Placed) -> float:
        """What a block adds to a network's latency, at least 0.

        Raises:
            MeasurementError: the block could not be measured.
        """
        return max(self._difference_ms(placed), 0.0)

    def contributions_ms(self, placed: Iterable[Placed]) -> npt.NDArray[np.float64]:
        """The contribution of each block; infinity where a block cannot be run, so that no constraint admits it."""
        failed = set(self.failures(items := list(placed)))
        return np.array([math.inf if item in failed else self.contribution_ms(item) for item in items])

    def predict_ms(self, architecture: Architecture) -> float:
        """The latency of a network whose blocks were all profiled: overhead and contributions.

        Raises:
            MeasurementError: one of them could not be measured.
        """
        blocks = architecture.blocks()
        return self.overhead_ms(architecture.input_shape) + sum(map(self.contribution_ms, blocks))

    def failures(self, placed: Iterable[P]) -> dict[P, Measurement]:
        """The blocks that cannot be run, each with the reason."""
        found = {}
        for item in placed:
            needed = (self.measurements[subject] for subject in subjects(self.backend, item))
            if failed := [measurement for measurement in needed if not measurement.ok]:
                found[item] = failed[0]
        return found

    def clipped(self, placed: Iterable[P]) -> list[P]:
        """The blocks whose measured contribution is below 0: within the noise, they cost nothing."""
        items = list(placed)
        failed = self.failures(items)
        return [item for item in items if item not in failed and self._difference_ms(item) < 0]

    def _difference_ms(self, placed: Placed) -> float:
        """The contribution as measured, which noise may push below 0."""
        part, shape = self.backend.deployed(placed.part), placed.shape
        if part.output_shape(shape) != shape:
            return self._milliseconds(part, shape, 1) - self.overhead_ms(shape)
        return (self._milliseconds(part, shape, LONG) - self._milliseconds(part, shape, 1)) / (LONG - 1)

    def _milliseconds(self, part: Block | None, shape: Shape, length: int) -> float:
        return self.measurements[Subject(part, shape, length)].milliseconds


def subjects(backend: Backend, placed: Placed) -> list[Subject]:
    """The chains that a block's contribution is computed from."""
    part, shape = backend.deployed(placed.part), placed.shape
    if part.output_shape(shape) == shape:
        return [Subject(part, shape, LONG), Subject(part, shape, 1)]
    return [Subject(part, shape, 1), Subject(None, shape, 0)]


def profile(
    placements: Sequence[Placed],
    backend: Backend,
    store: LatencyStore,
    settings: TimingSettings | None = None,
    progress: Progress | None = None,
    input_shape: Shape | None = None,
) -> Profile:
    """Measures what the table lacks for these blocks, and returns what it then holds for them.

    Each batch is in the table before the next begins. Failures that may pass (memory, time) are tried again, lasting
    ones are not.

    Args:
        placements: blocks with their input shapes; repetitions cost nothing.
        backend: what measures.
        store: the table.
        settings: time for each chain.
        progress: called with (done, total) of the chains that are still to be measured.
        input_shape: of the networks, where it is not that of one of the blocks.
    """
    key, every = backend.key(), wanted(backend, placements, input_shape)
    known = store.get(key)
    missing = unknown(every, known)
    for done, batch in _batches(missing):
        found = _measure(
            backend, batch, settings or TimingSettings(), _shifted(progress, done, len(missing), len(batch))
        )
        store.put(key, found)
        known.update(found)
    return Profile(backend, {subject: known[subject.text] for subject in every})


def wanted(backend: Backend, placements: Sequence[Placed], input_shape: Shape | None = None) -> set[Subject]:
    """All chains that the contributions and the overhead are computed from."""
    first = [placed.shape for placed in placements[:1]]
    empty = {Subject(None, shape, 0) for shape in ([input_shape] if input_shape else first)}
    return empty | {subject for placed in placements for subject in subjects(backend, placed)}


def unknown(every: Iterable[Subject], known: Mapping[str, Measurement]) -> list[Subject]:
    """Those that a table lacks, or that failed for a reason that may pass."""
    return [subject for subject in every if subject.text not in known or known[subject.text].state in _PASSING]


def _batches(missing: Iterable[Subject]) -> Iterator[tuple[int, list[Subject]]]:
    """The subjects a few at a time, those that share an exported block together; each batch with its start."""
    ordered = sorted(missing, key=lambda subject: (subject.shape, subject.plain, subject.text))
    for start in range(0, len(ordered), _BATCH):
        yield start, ordered[start : start + _BATCH]


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
