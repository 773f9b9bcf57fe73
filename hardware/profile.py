"""Profile: what each block of a search space adds to a network's latency on a backend, measured once and kept.

The latency of a network is modelled as `overhead(input shape) + sum of the blocks' contributions`. The overhead is that
of the empty network. A block is measured inside a small network: behind a pointwise convolution, the *frame*, as blocks
stand behind others, so that it meets its input in the runtime's own layout. Its contribution is the latency of frame
and blocks less that of the frame; a block that keeps its shape is measured as a chain of equal ones. What the frame and
the conversions at both ends cost cancels, in each difference or along the sum. A block on the network's own input has
no frame, and is compared with the empty network.
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
from searchspaces.blocks.transition import Transition
from searchspaces.part import Shape
from searchspaces.quantization.none import NoQuantization

CHAIN = 4
"""Blocks in the chain of a block that keeps its shape."""
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
    """What one row of the table measures: a chain of equal blocks, which may be empty, behind a frame or bare."""

    part: Block | None
    shape: Shape
    length: int
    framed: bool

    @property
    def text(self) -> str:
        """The row's key: stable JSON."""
        part = None if self.part is None else self.part.describe()
        data = {"part": part, "shape": self.shape, "chain": self.length, "framed": self.framed}
        return json.dumps(data, sort_keys=True)

    @property
    def plain(self) -> str:
        """The same for all quantization policies."""
        part = None if self.part is None else self.part.model_copy(update={"quantization": NoQuantization()}).describe()
        return json.dumps(part, sort_keys=True)

    @property
    def architecture(self) -> Architecture:
        """The network to measure."""
        frame = (Transition(width=self.shape[0], stride=1),) if self.framed else ()
        return Architecture(self.shape, frame + (() if self.part is None else (self.part,) * self.length))


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
        return self.overhead_ms + sum(map(self.contribution_ms, architecture.blocks()))

    def failures(self, placed: Iterable[P]) -> dict[P, Measurement]:
        """The blocks that cannot be run, each with the reason."""
        found = {}
        for item in placed:
            needed = (self.measurements[subject] for subject in subjects(self.backend, item, self.input_shape))
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
        with_blocks, without = subjects(self.backend, placed, self.input_shape)
        difference = self.measurements[with_blocks].milliseconds - self.measurements[without].milliseconds
        return difference / with_blocks.length


def subjects(backend: Backend, placed: Placed, input_shape: Shape) -> tuple[Subject, Subject]:
    """The chain with a block and the one without, whose difference is the block's contribution."""
    part, shape = backend.deployed(placed.part), placed.shape
    framed = shape != input_shape
    length = CHAIN if part.output_shape(shape) == shape else 1
    return Subject(part, shape, length, framed), Subject(None, shape, 0, framed)


def profile(
    placements: Sequence[Placed],
    input_shape: Shape,
    backend: Backend,
    store: LatencyStore,
    settings: TimingSettings | None = None,
    progress: Progress | None = None,
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
    return Profile(backend, input_shape, {subject: known[subject.text] for subject in every})


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


def wanted(backend: Backend, placements: Iterable[Placed], input_shape: Shape) -> set[Subject]:
    """All chains that the contributions and the overhead are computed from."""
    empty = Subject(None, input_shape, 0, framed=False)
    return {empty, *(subject for placed in placements for subject in subjects(backend, placed, input_shape))}


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
