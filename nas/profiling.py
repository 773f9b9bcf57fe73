"""Profiling: measures what a search has to know of the hardware, blocks first, then whole networks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from hardware.backends._role import Backend, UnavailableError
from hardware.measurement import Measurement
from hardware.monotonicity import confirmed
from hardware.profile import Budget, Profile, measured_networks, profile
from hardware.store import LatencyStore
from hardware.subjects import unknown, wanted
from hardware.timing import SystemClock
from nas import folders
from nas.beliefs import Believed
from nas.config import Profiling
from nas.progress import Phase, Progress
from predictors._file import Restored, load, save
from predictors._role import Predictor
from predictors.encodings.space import SpaceEncoding
from searchspaces.placements import Placements
from searchspaces.space import Genes

_USAGE = 1000
"""Random architectures from which it is counted how often each block is used."""
_BATCH = 20
_MINUTE_NS = 60e9


@dataclass
class Profiler:
    """The measurements of one space on one backend, kept in the user's latency table."""

    backend: Backend
    placements: Placements
    settings: Profiling
    predictor: Predictor
    progress: Progress
    seed: int = 0

    @cached_property
    def profile(self) -> Profile:
        """The latencies of the space's blocks, measured where the table lacks them and the budget allows."""
        units, shape = self.placements.units, self.placements.space.input_shape
        every = wanted(self.backend, units, shape)
        with LatencyStore(folders.latency_table()) as store:
            missing = len(unknown(every, store.get(self.backend.key())))
            with self.progress.phase("profile", total=len(every), done=len(every) - missing) as phase:
                advance = Advance(phase, missing)
                _ = self._end
                found = profile(units, shape, self.backend, store, progress=advance, budget=self._budget())
                return confirmed(found, units, store)

    @cached_property
    def latency(self) -> Believed:
        """The latency of every architecture, learned from the profile and from whole networks."""
        encoding = SpaceEncoding(self.placements, self.profile)
        sources = tuple(Restored(*load(Path(name), SpaceEncoding(self.placements))) for name in self.settings.sources)
        latency = Believed(self.predictor, encoding, self.settings.level, self.seed, sources=sources)
        rows = self.rows
        with self.progress.phase("calibrate", total=len(rows)) as phase:
            for start in range(0, len(rows), _BATCH):
                batch = rows[start : start + _BATCH]
                latency.learn(batch, self.measured(batch))
                phase.advance(len(batch))
                if self._clock.wall_ns() > self._end:
                    break
        return latency

    def save(self, path: Path) -> None:
        """Writes a predictor of this device's latencies, to be a source where another device is profiled.

        It knows networks, not the table: the other device has a table of its own.
        """
        encoding = SpaceEncoding(self.placements)
        model = self.predictor.fit(replace(self.latency.examples, encoding=encoding))
        save(path, self.predictor, model, encoding)

    @cached_property
    def energy(self) -> Believed:
        """The energy of every architecture, learned from the same networks as the latency.

        Raises:
            UnavailableError: the machine has no meter that can be read.
        """
        rows, encoding = self.latency.matrix, SpaceEncoding(self.placements)
        energy = Believed(self.predictor, encoding, self.settings.level, self.seed, value="energy_mj")
        measurements = self.measured(rows)
        energy.learn(rows, measurements)
        if len(energy) < self.predictor.needed(encoding):
            window = next((found.window for found in measurements if found.window), None)
            why = window.energy if window else f"{self.backend.kind()} does not measure it"
            raise UnavailableError(
                f"energy_mj was measured of {len(energy)} networks only ({why}): choose other objectives"
            )
        return energy

    @property
    def rows(self) -> Genes:
        """The networks that are measured whole: distinct and random, the same in every run."""
        drawn = self.placements.space.sample(np.random.default_rng(0), 4 * self.settings.networks)
        first = np.sort(np.unique(drawn, axis=0, return_index=True)[1])
        return drawn[first[: self.settings.networks]]

    def measured(self, rows: Genes) -> list[Measurement]:
        """The measurement of each row's network; what the table holds is not measured again."""
        networks = [self.placements.space.decode(row) for row in rows]
        with LatencyStore(folders.latency_table()) as store:
            return measured_networks(networks, self.backend, store)

    @cached_property
    def _clock(self) -> SystemClock:
        return SystemClock()

    @cached_property
    def _end(self) -> float:
        """When the budget is spent; counts from the first call."""
        minutes = self.settings.minutes
        return np.inf if minutes is None else self._clock.wall_ns() + minutes * _MINUTE_NS

    def _budget(self) -> Budget | None:
        """Half of the time, and how often blocks are used."""
        if self.settings.minutes is None:
            return None
        units = self.placements.of(self.placements.space.sample(np.random.default_rng(0), _USAGE))
        counts = np.bincount(units[units >= 0], minlength=len(self.placements.units))
        return Budget(self.settings.minutes / 2, counts / _USAGE)


class Advance:
    """Turns the share that a measurement has done into steps of a phase."""

    def __init__(self, phase: Phase, total: int) -> None:
        self.phase, self.total, self.done = phase, total, 0

    def __call__(self, done: int, of: int) -> None:
        """Advances by what is newly done."""
        steps = self.total * done // of
        self.phase.advance(steps - self.done)
        self.done = steps
