"""Finalists trained from scratch: what is drawn, what is kept, what is chosen."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from nas.archive import Trial
from nas.finalize import draft, draft_folder
from nas.run import Run
from nas.tuning import attempt, best, drawn, known, tune, tuned, tuned_folder
from searchspaces.architecture import Architecture
from tests.nas.experiments import TINY, written
from tests.nas.test_run import opened

TUNE = "models: 2, tune: {trials: 4, epochs: 3, reduction: 2}"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run whose test images cannot be read."""
    run = opened(written(tmp_path, TINY.replace("models: 2", TUNE)), tmp_path / "run")
    run.__dict__["task"] = copy(run.task)
    run.task.splits = replace(run.task.splits, test=None)  # type: ignore[arg-type]
    return run


def finalist(run: Run, number: int) -> Trial:
    row = run.space.sample(np.random.default_rng(number), 1)[0]
    architecture = run.space.decode(row)
    return Trial(number, architecture.id, tuple(map(int, row)), architecture.describe(), {"error": 0.5})


def test_settings_are_a_function_of_seed_and_number_within_their_bounds(run: Run) -> None:
    found = [drawn(run.experiment, number) for number in range(50)]
    assert found == [drawn(run.experiment, number) for number in range(50)]
    assert {settings.epochs for settings in found} == {3} and len({settings.learning_rate for settings in found}) == 50
    assert all(3e-4 <= settings.learning_rate <= 3e-2 for settings in found)
    assert {settings.weight_decay for settings in found} == {0.0, 0.02, 0.1}
    assert {settings.warmup for settings in found} == {0.0, 0.05, 0.2}
    assert drawn(run.experiment.model_copy(update={"seed": 1}), 0) != found[0]


class Stopped(Exception):
    pass


def stop(epochs: int) -> Callable[[float], None]:
    """A report that ends the training after so many epochs."""
    told: list[float] = []

    def report(error: float) -> None:
        told.append(error)
        if len(told) == epochs:
            raise Stopped

    return report


@pytest.mark.parametrize("lost", [False, True])
def test_a_training_that_was_left_goes_on_to_the_same_weights(run: Run, tmp_path: Path, lost: bool) -> None:
    architecture = run.space.decode(run.space.sample(np.random.default_rng(0), 1)[0])
    whole: list[float] = []
    attempt(run.context, architecture, 1, tmp_path, whole.append)
    (tmp_path / "parts").mkdir()
    with pytest.raises(Stopped):
        attempt(run.context, architecture, 1, tmp_path / "parts", stop(2))
    if lost:
        (tmp_path / "parts" / "1.json").write_text(f"[{whole[0]}]", encoding="utf-8")
    again: list[float] = []
    attempt(run.context, architecture, 1, tmp_path / "parts", again.append)
    assert again == whole == known(tmp_path / "parts", 1) and len(whole) == 3
    first, second = (load_file(folder / "1.safetensors") for folder in (tmp_path, tmp_path / "parts"))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


@pytest.mark.exhaustive
def test_finalists_are_tuned_once_and_exported_with_their_best_weights(run: Run) -> None:
    pytest.importorskip("ray")
    trials = [finalist(run, number) for number in (1, 2)]
    tune(run, trials)
    for trial in trials:
        folder = tuned_folder(run, trial)
        errors = {number: known(folder, number) for number in range(4)}
        whole = {number: found[-1] for number, found in errors.items() if len(found) == 3}
        chosen = best(folder)
        assert chosen is not None and whole[chosen["number"]] == chosen["error"] == min(whole.values())
        assert all(errors.values()) and len(whole) < 4, "every training began, and some were stopped"
        assert not (folder / "ray").exists()
    kept = [path.stat().st_mtime_ns for trial in trials for path in sorted(tuned_folder(run, trial).iterdir())]
    tune(run, trials)
    assert kept == [path.stat().st_mtime_ns for trial in trials for path in sorted(tuned_folder(run, trial).iterdir())]
    run.task.splits = run.experiment.task.load().splits
    draft(run, trials[:1], 1)
    exported = load_file(draft_folder(run, trials[0]) / "model.safetensors")
    architecture = Architecture.parse(trials[0].architecture)
    trained = tuned(run.context, architecture, tuned_folder(run, trials[0]))
    assert trained is not None
    expected = trained.subnet(architecture).state()
    parameters = dict(architecture.build().named_parameters())
    assert parameters and all(torch.equal(exported[name], expected[name]) for name in parameters)
