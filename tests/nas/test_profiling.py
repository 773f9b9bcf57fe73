"""What is measured of the hardware before a search: blocks, networks, and energy where there is a meter."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hardware.backends._role import Backend, Progress, UnavailableError, Workload
from hardware.backends.roofline import Roofline
from hardware.measurement import Measurement
from hardware.timing import TimingSettings
from nas.config import read
from nas.failures import exit_code
from nas.profiling import Profiler
from nas.progress import LineProgress
from nas.run import Run
from predictors._file import PredictorFileError
from searchspaces.architecture import Architecture
from searchspaces.cost import architecture_cost
from tests.nas.experiments import TINY, written


class Metered(Backend):
    """The roofline model with a meter that counts multiply-accumulates."""

    def measure(
        self, jobs: Sequence[Workload], settings: TimingSettings, progress: Progress | None = None
    ) -> list[Measurement]:
        """The model's latency, and its energy."""
        MEASURED.extend(job.architecture for job in jobs)
        return [self._one(job.architecture) for job in jobs]

    def measure_export(self, directory: Path, settings: TimingSettings) -> Measurement:
        """As the roofline model has it."""
        return Roofline().measure_export(directory, settings)

    def _one(self, network: Architecture) -> Measurement:
        return replace(Roofline().estimate(network), energy_mj=energy_mj(network), energy_source="measured")


MEASURED: list[Architecture] = []


def energy_mj(network: Architecture) -> float:
    return 1e-6 * architecture_cost(network).macs + 0.01 * len(network.blocks()) + 1e-3


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    MEASURED.clear()
    return tmp_path


def opened(folder: Path, hardware: str, more: str = "") -> Run:
    config = written(folder, TINY.replace("{kind: roofline}", hardware) + more)
    return Run(read(config), folder / "run", LineProgress(io.StringIO()))


def test_a_second_profile_measures_nothing_new(cache: Path) -> None:
    kind = f"{{kind: '{__name__}:Metered'}}"
    first = opened(cache, kind).profiler
    assert len(first.latency) == 12
    assert len(MEASURED) == len(set(MEASURED))
    count = len(MEASURED)
    second = opened(cache, kind).profiler
    rows = second.rows
    np.testing.assert_array_equal(second.latency.predict(rows).mean, first.latency.predict(rows).mean)
    assert len(MEASURED) == count


def test_networks_are_distinct_and_the_same_in_every_run(cache: Path) -> None:
    rows = opened(cache, "{kind: roofline}").profiler.rows
    assert len({row.tobytes() for row in rows}) == len(rows) == 12
    np.testing.assert_array_equal(rows, opened(cache, "{kind: roofline}").profiler.rows)


def test_a_spent_budget_leaves_estimates_and_one_batch_of_networks(cache: Path) -> None:
    run = opened(cache, f"{{kind: '{__name__}:Metered'}}")
    settings = run.experiment.profile.model_copy(update={"minutes": 1e-9})
    profiler = Profiler(run.experiment.hardware, run.placements, settings, run.experiment.predictor, run.progress)
    assert not all(map(profiler.profile.measured, run.placements.units))
    assert np.all(np.isfinite(profiler.profile.contributions_ms(run.placements.units)))
    assert 0 < len(profiler.latency) <= 12


def test_a_device_is_a_source_for_another_one(cache: Path) -> None:
    first = opened(cache, "{kind: roofline}")
    first.profiler.save(cache / "first.npz")
    path = json.dumps(str(cache / "first.npz"))
    text = TINY.replace("networks: 12", f"networks: 10, sources: [{path}]").replace(
        "hardware: {kind: roofline}", "hardware: {kind: roofline, overhead_us: 4.0}\npredictor: {kind: transfer}"
    )
    (cache / "second").mkdir()
    second = Run(read(written(cache / "second", text)), cache / "run", LineProgress(io.StringIO()))
    assert len(second.profiler.latency.examples.sources) == 1
    rows = second.space.sample(np.random.default_rng(3), 30)
    believed = second.costs(rows)["latency_ms"]
    truth = [Roofline(overhead_us=4.0).estimate(second.space.decode(row)).milliseconds for row in rows]
    assert np.median(np.abs(believed / np.array(truth) - 1)) < 0.05


def test_a_source_of_another_space_is_refused(cache: Path) -> None:
    opened(cache, "{kind: roofline}").profiler.save(cache / "first.npz")
    text = TINY.replace("kernel: {choice: [3, 5]}", "kernel: {choice: [3, 7]}")
    text = text.replace("networks: 12", f"networks: 12, sources: [{json.dumps(str(cache / 'first.npz'))}]")
    other = Run(read(written(cache, text)), cache / "run", LineProgress(io.StringIO()))
    with pytest.raises(PredictorFileError, match="another space") as caught:
        _ = other.profiler.latency
    assert exit_code(caught.value) == 2


def test_energy_is_an_objective_where_there_is_a_meter(cache: Path) -> None:
    more = "objectives: {error: minimize, energy_mj: minimize}\nconstraints: {energy_mj: 0.5}\n"
    run = opened(cache, f"{{kind: '{__name__}:Metered'}}", more)
    rows = run.space.sample(np.random.default_rng(5), 20)
    believed = run.costs(rows)["energy_mj"]
    truth = np.array([energy_mj(run.space.decode(row)) for row in rows])
    assert np.median(np.abs(believed / truth - 1)) < 0.1
    np.testing.assert_array_equal(run.problem.feasible(rows), run.costs.upper(rows)["energy_mj"] <= 0.5)


def test_without_a_meter_energy_is_refused_with_the_reason(cache: Path) -> None:
    run = opened(cache, "{kind: roofline}", "objectives: {error: minimize, energy_mj: minimize}\n")
    with pytest.raises(UnavailableError, match="energy_mj") as caught:
        _ = run.problem
    assert exit_code(caught.value) == 2
