"""What the search believes best is measured while it goes on; beliefs follow, bounds keep their distance."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from hardware.backends._role import Backend, Progress, Workload
from hardware.backends.roofline import Roofline
from hardware.measurement import Measurement
from hardware.timing import TimingSettings
from nas.archive import OK, Archive, Trial
from nas.config import read
from nas.progress import LineProgress
from nas.run import Run
from nas.verification import PREDICTED
from searchspaces.architecture import Architecture
from searchspaces.blocks.classifier import Classifier
from tests.nas.experiments import TINY, written


class Surprising(Backend):
    """The roofline model, but networks of several blocks take longer, differently so; some may fail."""

    failing: bool = False

    def measure(
        self, jobs: Sequence[Workload], settings: TimingSettings, progress: Progress | None = None
    ) -> list[Measurement]:
        """The model's value, times what depends on the network."""
        MEASURED.extend(job.architecture.id for job in jobs)
        return [self._one(job) for job in jobs]

    def measure_export(self, directory: Path, settings: TimingSettings) -> Measurement:
        """As the roofline model has it."""
        return Roofline().measure_export(directory, settings)

    def _one(self, job: Workload) -> Measurement:
        blocks, estimate = job.architecture.blocks(), Roofline().estimate(job.architecture).milliseconds
        whole, number = len(blocks) > 2 and isinstance(blocks[-1].part, Classifier), int(job.architecture.id, 16)
        if self.failing and whole and number % 2:
            return Measurement(state="unsupported_operator", reason="their words")
        return Measurement(latency_ms=estimate * (1.0 + 0.01 * (number % 7) if whole else 1.0))


MEASURED: list[str] = []


def searched(folder: Path, text: str = TINY, failing: bool = False) -> tuple[Run, list[Trial]]:
    """A finished search on the surprising backend."""
    MEASURED.clear()
    kind = f"{__name__}:Surprising"
    hardware = f"hardware: {{kind: '{kind}', failing: {str(failing).lower()}}}"
    config = written(folder, text.replace("hardware: {kind: roofline}", hardware))
    run = Run(read(config), folder / "run", LineProgress(io.StringIO()))
    run.folder.mkdir()
    run.train()
    run.search()
    with Archive.open(run.folder / "archive.sqlite", None) as archive:
        assert archive.verified == len(archive)
        return run, archive.trials()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_measured_trials_hold_the_measurement_and_what_was_predicted(cache: Path) -> None:
    _, found = searched(cache)
    measured = [trial for trial in found if PREDICTED in trial.values]
    assert 2 <= len(measured) <= 6, "two after five, two after ten, two in the end"
    for trial in measured:
        assert trial.architecture_id in MEASURED
        truth = Surprising()._one(Workload(Architecture.parse(trial.architecture))).milliseconds
        assert trial.values["latency_ms"] == truth
        assert trial.values[PREDICTED] == pytest.approx(truth, rel=0.1)


def test_the_predictor_learns_from_what_was_measured(cache: Path) -> None:
    run, found = searched(cache)
    taken = [trial for trial in found if PREDICTED in trial.values]
    rows = {row.tobytes() for row in run.profiler.rows}
    fresh = [trial for trial in taken if np.array(trial.genes).tobytes() not in rows]
    assert len(run.profiler.latency) == len(run.profiler.rows) + len(fresh)


def test_the_front_is_measured_first(cache: Path) -> None:
    run, _ = searched(cache, TINY.replace("verified: 2", "verified: 12"))
    with run.open_archive() as archive:
        front = archive.front(run.problem)
    assert front
    assert sum(PREDICTED in trial.values for trial in front) >= len(front) - 1


def test_what_cannot_be_run_leaves_the_front_with_its_reason(cache: Path) -> None:
    text = TINY.replace("verified: 2", "verified: 12")
    _, found = searched(cache, text, failing=True)
    failed = [trial for trial in found if trial.state != OK]
    assert failed
    for trial in failed:
        assert (trial.state, trial.reason) == ("unsupported_operator", "their words")


def test_nothing_is_measured_where_it_is_not_asked_for(cache: Path) -> None:
    _, found = searched(cache, TINY.replace("verified: 2", "verified: 0"))
    assert not any(PREDICTED in trial.values for trial in found)


def test_bounds_are_held_against_the_upper_end(cache: Path) -> None:
    run, _ = searched(cache, TINY + "constraints: {latency_ms: 0.2}\n")
    rows = run.space.sample(np.random.default_rng(1), 50)
    upper = run.costs.upper(rows)["latency_ms"]
    np.testing.assert_array_equal(run.problem.feasible(rows), upper <= 0.2)
    assert np.all(upper >= run.costs(rows)["latency_ms"])
    assert np.any(upper > run.costs(rows)["latency_ms"])
