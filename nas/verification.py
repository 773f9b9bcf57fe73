"""Verification: what the search believes to be best is measured while it goes on, and beliefs are corrected."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hardware.measurement import Measurement
from nas.archive import OK, Archive, Trial
from nas.problem import Problem
from nas.profiling import Profiler

PREDICTED = "latency_ms_predicted"
"""Under this name a trial keeps what was believed before it was measured."""
_NAME = "latency_ms"


class Verification:
    """Measures trials of an archive at fixed numbers of trials, so that a resumed search does the same.

    What was measured before is taken into the predictor at once.
    """

    def __init__(self, profiler: Profiler, problem: Problem, archive: Archive) -> None:
        self._profiler, self._problem, self._archive = profiler, problem, archive
        self._settings = profiler.settings
        for trial in archive.trials():
            self._learn(trial)
        self.catch_up()

    def catch_up(self) -> None:
        """Measures candidates if as many trials as that takes have come since the last time."""
        if len(self._archive) - self._archive.verified >= self._settings.every:
            self._verify()

    def finish(self) -> None:
        """Measures candidates among the last trials."""
        if len(self._archive) > self._archive.verified:
            self._verify()

    def _verify(self) -> None:
        """Measures the chosen trials, and corrects what is believed of them and of all others."""
        chosen = self._chosen()
        rows = np.array([trial.genes for trial in chosen], dtype=np.int64)
        measurements = self._profiler.measured(rows) if chosen else []
        revised = [_revised(trial, found) for trial, found in zip(chosen, measurements, strict=True)]
        self._archive.revise(revised)
        for trial in revised:
            self._learn(trial)

    def _learn(self, trial: Trial) -> None:
        if PREDICTED in trial.values and trial.state == OK:
            self._profiler.latency.take(np.array(trial.genes, dtype=np.int64), trial.values[_NAME])

    def _chosen(self) -> list[Trial]:
        """Trials on the believed front first, then those nearest to the bound within their intervals."""
        if _NAME not in {*self._problem.objectives, *self._problem.constraints}:
            return []
        front = {trial.number for trial in self._archive.front(self._problem)}
        open_ = [trial for trial in self._archive.trials() if trial.state == OK and PREDICTED not in trial.values]
        wanted = [trial for trial in open_ if trial.number in front]
        wanted += self._near_bound([trial for trial in open_ if trial.number not in front])
        return wanted[: self._settings.verified]

    def _near_bound(self, trials: list[Trial]) -> list[Trial]:
        """Those whose interval holds the bound, the nearest first."""
        bound = self._problem.constraints.get(_NAME)
        if bound is None or not trials:
            return []
        low, high = self._profiler.latency.interval(np.array([trial.genes for trial in trials], dtype=np.int64))
        near = [trial for trial, a, b in zip(trials, low, high, strict=True) if a <= bound <= b]
        return sorted(near, key=lambda trial: (abs(trial.values[_NAME] - bound), trial.number))


def _revised(trial: Trial, found: Measurement) -> Trial:
    """A trial with what was measured in the place of what was believed."""
    values = {**trial.values, PREDICTED: trial.values[_NAME]}
    if not found.ok:
        return replace(trial, values=values, state=found.state, reason=found.reason)
    return replace(trial, values={**values, _NAME: found.milliseconds})
