"""Subjects: the small networks that are measured, so that their differences tell what each block adds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hardware.backends._role import Backend
from hardware.design import BlockField, Placed
from hardware.measurement import Measurement
from searchspaces.architecture import Architecture
from searchspaces.blocks._role import Block
from searchspaces.blocks.transition import Transition
from searchspaces.part import Shape
from searchspaces.placements import Unit
from searchspaces.quantization.none import NoQuantization

CHAIN = 4
"""Blocks in the chain of a block that keeps its shape."""
_PASSING = ("out_of_memory", "timeout")


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


def subjects(backend: Backend, placed: Placed, input_shape: Shape) -> tuple[Subject, Subject]:
    """The chain with a block and the one without, whose difference is the block's contribution."""
    part, shape = backend.deployed(placed.part), placed.shape
    framed = shape != input_shape
    length = CHAIN if part.output_shape(shape) == shape else 1
    return Subject(part, shape, length, framed), Subject(None, shape, 0, framed)


def wanted(backend: Backend, placements: Iterable[Placed], input_shape: Shape) -> set[Subject]:
    """All chains that the contributions and the overhead are computed from."""
    empty = Subject(None, input_shape, 0, framed=False)
    return {empty, *(subject for placed in placements for subject in subjects(backend, placed, input_shape))}


def unknown(every: Iterable[Subject], known: Mapping[str, Measurement]) -> list[Subject]:
    """Those that a table lacks, or that failed for a reason that may pass; those that share exports side by side."""
    lacking = [subject for subject in every if subject.text not in known or known[subject.text].state in _PASSING]
    return sorted(lacking, key=lambda subject: (subject.shape, subject.plain, subject.text))


def informative(
    backend: Backend,
    placed: Sequence[Placed],
    input_shape: Shape,
    missing: Sequence[Subject],
    usage: npt.NDArray[np.float64],
) -> list[Subject]:
    """The missing subjects, those without a block first, then the most informative ones.

    Args:
        backend: what will measure.
        placed: all blocks.
        input_shape: of the networks that are to be predicted.
        missing: what the table lacks.
        usage: [n], how often a network has each block.
    """
    shares: dict[Subject, float] = {}
    for item, share in zip(placed, usage, strict=True):
        chain = subjects(backend, item, input_shape)[0]
        shares[chain] = shares.get(chain, 0.0) + float(share)
    chains, lacking = list(shares), set(missing)
    field = BlockField.of([Unit(chain.part, chain.shape) for chain in chains if chain.part], backend.batch_size)
    known = np.array([chain not in lacking for chain in chains], dtype=bool)
    order = field.order(np.array(list(shares.values())), known)
    return [*(subject for subject in missing if subject.part is None), *(chains[number] for number in order)]
