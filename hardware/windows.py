"""Windows: jobs measured some twenty at a time, among reference networks that tell when the machine has changed.

A reference that moved since the window before means that this window's latencies cannot be compared with the earlier
ones: the window is measured again, and kept in the end with its flag if that does not help.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hardware.backends._role import Backend, Workload
from hardware.isolation import Death, Progress, ask
from hardware.measurement import Measurement, Window
from hardware.session import REFERENCE, SHARED, Reply, Request
from hardware.timing import TimingSettings
from searchspaces.architecture import Architecture
from searchspaces.blocks.channel_mixing import ChannelMixing
from searchspaces.blocks.token_mixing import TokenMixing
from searchspaces.channel_mixers.mlp import Mlp
from searchspaces.mixers.depthwise import Depthwise

if TYPE_CHECKING:
    from hardware.backends._local import LocalBackend

Levels = tuple[float | None, ...]
"""Milliseconds of each reference network; None for one that failed."""

REFERENCES = tuple(
    Workload(Architecture((32, 16, 16), (part,) * 4))
    for part in (ChannelMixing(mixer=Mlp(ratio=2.0)), TokenMixing(mixer=Depthwise(kernel=3)))
)
"""One network bound by arithmetic, one by memory and calls."""

_LASTING = ("crashed", "timeout")
_first: dict[Backend, Levels] = {}
_last: dict[Backend, Levels] = {}


def measured(
    backend: LocalBackend, jobs: Sequence[Workload], settings: TimingSettings, progress: Progress | None = None
) -> list[Measurement]:
    """The measurement of each job, in their order."""
    found: list[Measurement] = []
    reached = _Reached(progress, len(jobs))
    for start in range(0, len(jobs), settings.window):
        window = jobs[start : start + settings.window]
        found += _steady(backend, window, settings, start, reached)
        reached.at(len(found))
    return found


def measured_export(backend: LocalBackend, directory: Path, settings: TimingSettings) -> Measurement:
    """The measurement of exported files, alone."""
    answer = ask(Request(backend, directory, settings))
    if isinstance(answer, Death):
        return Measurement.failed(answer.error)
    return replace(answer.measurements[0], window=_window(answer, settings, backend))


def moved(levels: Levels, since: Levels) -> float | None:
    """The furthest that a reference moved, up or down, as a share of the lower level; None with nothing to compare."""
    pairs = [(now, then) for now, then in zip(levels, since, strict=False) if now and then]
    return max((max(pair) / min(pair) - 1 for pair in pairs), default=None)


class _Reached:
    """Progress in jobs that never goes back, also when a window is measured again."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._most = progress, total, 0

    def at(self, jobs: int) -> None:
        """So many jobs are done."""
        if self._progress and jobs >= self._most:
            self._most = jobs
            self._progress(jobs, self._total)

    def within(self, start: int, size: int) -> Progress:
        """The progress of a window's visits."""
        return lambda done, total: self.at(start + size * done // total)


def _steady(
    backend: LocalBackend, jobs: Sequence[Workload], settings: TimingSettings, start: int, reached: _Reached
) -> list[Measurement]:
    """A window, measured again while its references are elsewhere than before; the nearest attempt is kept."""
    lasting: dict[int, Measurement] = {}
    kept: tuple[Window, dict[int, Measurement]] | None = None
    for attempt in range(settings.repeats + 1):
        numbers = [number for number in range(len(jobs)) if number not in lasting]
        chosen, order = [jobs[number] for number in numbers], (settings.seed, start, attempt)
        measurements, reply = _survived(backend, chosen, settings, order, reached.within(start, len(jobs)))
        found = dict(zip(numbers, measurements, strict=True))
        lasting.update({number: one for number, one in found.items() if one.state in _LASTING})
        window = _window(reply, settings, backend, attempt)
        if kept is None or (window.moved or 0.0) < (kept[0].moved or 0.0):
            kept = window, found
        if window.steady:
            break
    assert kept is not None
    window, found = kept
    if any(window.references_ms):
        _first.setdefault(backend, window.references_ms)
        _last[backend] = window.references_ms
    return [replace({**found, **lasting}[number], window=window) for number in range(len(jobs))]


def _survived(
    backend: LocalBackend,
    jobs: Sequence[Workload],
    settings: TimingSettings,
    order: tuple[int, ...],
    progress: Progress,
) -> tuple[list[Measurement], Reply | None]:
    """The measurement of each job, one job fewer after each death; jobs that die of shared work are measured alone."""
    failed: dict[int, Measurement] = {}
    references, reply = REFERENCES, None
    while left := [number for number in range(len(jobs)) if number not in failed]:
        answer = ask(Request(backend, tuple(jobs[n] for n in left), settings, order, references), progress)
        if isinstance(answer, Reply):
            failed.update(zip(left, answer.measurements, strict=True))
            reply = answer
        elif answer.job == REFERENCE:
            references = ()
        elif answer.job == SHARED and len(left) > 1:
            for number in left:
                (failed[number],), alone = _survived(backend, [jobs[number]], settings, order, progress)
                reply = alone or reply
        else:
            failed[left[max(answer.job, 0)]] = Measurement.failed(answer.error)
    return [failed[number] for number in range(len(jobs))], reply


def _window(reply: Reply | None, settings: TimingSettings, backend: Backend, attempt: int = 0) -> Window:
    """The record of an attempt; without a reply, when every job died, there is little to record."""
    if reply is None:
        return Window("", attempt, asdict(settings))
    since = moved(reply.references_ms, _last.get(backend, ()))
    return Window(
        started=reply.started,
        attempt=attempt,
        settings=asdict(settings),
        references_ms=reply.references_ms,
        moved=since,
        drift=moved(reply.references_ms, _first.get(backend, ())),
        steady=since is None or since <= settings.drift,
        energy=reply.energy,
        conditions=reply.conditions,
    )
