"""Monotonicity: a larger block that measures faster than a smaller one is measured again, then kept with a warning."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from hardware.backends._role import Progress, Workload
from hardware.design import Placed
from hardware.profile import Profile
from hardware.store import LatencyStore
from hardware.subjects import subjects
from hardware.timing import TimingSettings
from searchspaces.architecture import Placement
from searchspaces.cost import cost

AGAIN = "measured again: faster than a smaller block"
"""The note on a measurement that was confirmed; it is not made a third time."""
_AXES = {"shape.0": "input channels"}
_CAREFUL = 3
"""How many times the visits of a first measurement a second one makes."""


@dataclass(frozen=True)
class Inversion:
    """Two blocks that differ in one number, of which the larger, with more MACs, is the faster.

    Attributes:
        field: which number, such as `mixer.kernel`, or `shape.0` for the channels of the input.
        smaller: the block with the smaller number, which takes `smaller_ms`.
        larger: the block with the larger number, which takes `larger_ms`.
        smaller_ms: contribution in milliseconds.
        larger_ms: contribution in milliseconds.
    """

    field: str
    smaller: Placement
    larger: Placement
    smaller_ms: float
    larger_ms: float

    def __str__(self) -> str:
        low, high = (dict(_leaves(_data(item)))[self.field] for item in (self.smaller, self.larger))
        where = f"{self.smaller.part.kind()} on {self.smaller.shape}"
        name = _AXES.get(self.field, self.field)
        return f"{where}: {name} {high:g} takes {self.larger_ms:.4f} ms, {low:g} takes {self.smaller_ms:.4f} ms"


def inversions(profile: Profile, placed: Sequence[Placed]) -> list[Inversion]:
    """Every measured pair of neighbours along one number of their descriptions that measures the wrong way round."""
    failed = set(profile.failures(items := _distinct(profile, placed)))
    families: dict[str, list[tuple[float, Placement]]] = {}
    for item in (item for item in items if item not in failed):
        for path, value in _leaves(data := _data(item)):
            families.setdefault(f"{path} {json.dumps(_without(data, path), sort_keys=True)}", []).append((value, item))
    found = []
    for name, family in families.items():
        for (_, smaller), (_, larger) in pairwise(sorted(family, key=lambda pair: pair[0])):
            small_ms, large_ms = profile.contribution_ms(smaller), profile.contribution_ms(larger)
            if large_ms < small_ms and _macs(larger) > _macs(smaller):
                found.append(Inversion(name.partition(" ")[0], smaller, larger, small_ms, large_ms))
    return found


def confirmed(
    profile: Profile, placed: Sequence[Placed], store: LatencyStore, progress: Progress | None = None
) -> Profile:
    """The profile with inverted pairs measured once more, and more carefully, also in the table."""
    suspects = {
        subject
        for inversion in inversions(profile, placed)
        for item in (inversion.smaller, inversion.larger)
        for subject in subjects(profile.backend, item, profile.input_shape)
        if subject.part is not None and profile.measurements[subject].reason != AGAIN
    }
    if not suspects:
        return profile
    ordered = sorted(suspects, key=lambda subject: subject.text)
    settings = TimingSettings(visits=_CAREFUL * TimingSettings().visits)
    measured = profile.backend.measure([Workload(subject.architecture) for subject in ordered], settings, progress)
    again = {s: replace(m, reason=AGAIN) if m.ok else m for s, m in zip(ordered, measured, strict=True)}
    store.put(profile.backend.key(), {subject.text: measurement for subject, measurement in again.items()})
    return replace(profile, measurements={**profile.measurements, **again})


def _distinct(profile: Profile, placed: Sequence[Placed]) -> list[Placement]:
    """The measured blocks as they are deployed, each once."""
    found = {
        Placement("", profile.backend.deployed(item.part), item.shape): None
        for item in placed
        if profile.measured(item)
    }
    return list(found)


def _macs(item: Placement) -> int:
    return cost(item.part, item.shape).macs


def _data(item: Placement) -> dict[str, Any]:
    """A block's description with its input shape."""
    return {**item.part.describe(), "shape": dict(enumerate(item.shape))}


def _leaves(data: dict[Any, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """The numbers in nested data, with their paths."""
    for key, value in data.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{key}", float(value)


def _without(data: dict[Any, Any], path: str) -> dict[Any, Any]:
    """The data without one number."""
    head, _, rest = path.partition(".")
    return {
        key: (_without(value, rest) if rest else None) if str(key) == head else value for key, value in data.items()
    }
