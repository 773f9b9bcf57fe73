"""Tuning: finalists trained from scratch, with asynchronous successive halving over learning rates and schedules.

Ray Tune asks for the trainings and stops them (ASHA, Li et al., arXiv:1810.05934, algorithm 2). What a training has
come to is kept in the folder of the run, so that a killed tuning trains no epoch again that was kept. Trainings are
judged on the validation images.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.archive import Trial
from nas.config import Experiment, Tuning
from nas.evaluator import error
from nas.executors._context import Context
from nas.executors._pool import reproducible
from nas.export._role import ExportError
from nas.files import write_atomic
from nas.progress import ToldProgress
from nas.training._fit import Fit
from nas.training._role import Trainee
from nas.training.single_path import SinglePath
from searchspaces.architecture import Architecture
from searchspaces.placements import Placements
from searchspaces.space import SearchSpace
from searchspaces.supernet import Supernet

if TYPE_CHECKING:
    from nas.run import Run

_QUIET = ("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "TUNE_DISABLE_SIGINT_HANDLER")


def tuned_folder(run: Run, trial: Trial) -> Path:
    """Where the trainings of an architecture are kept."""
    return run.folder.absolute() / "checkpoints" / "tuned" / trial.architecture_id


def tune(run: Run, trials: Sequence[Trial]) -> None:
    """Trains these architectures from scratch, one after the other, but for those that are trained.

    Raises:
        ExportError: not one training of an architecture came to its end.
        UnavailableError: Ray Tune is not installed, or there is no cluster.
    """
    settings = run.experiment.finalize.tune
    wanted = [trial for trial in trials if best(tuned_folder(run, trial)) is None]
    if settings is None or not wanted:
        return
    settings.check()
    run.pool.close()
    from nas.executors._cluster import Shared

    executor = run.experiment.executor
    shared = Shared(run.context, getattr(executor, "address", None), executor.workers)
    try:
        with run.progress.phase("tune", total=len(trials), done=len(trials) - len(wanted)) as phase:
            for trial in wanted:
                halve(settings, shared.content, trial, tuned_folder(run, trial), executor.retries)
                phase.advance(note=f"error {best(tuned_folder(run, trial))['error']:.4f}")  # type: ignore[index]
                run.check()
    finally:
        shared.close()


def halve(settings: Tuning, content: Any, trial: Trial, folder: Path, retries: int) -> None:
    """Trains one architecture with all settings that are drawn, most of them in part; keeps the best.

    Args:
        settings: what is drawn, and how it is halved.
        content: the context in the object store.
        trial: the architecture.
        folder: where its trainings are kept.
        retries: how often a training is taken up again whose worker was lost.
    """
    os.environ.update(dict.fromkeys(_QUIET, "1"))
    from ray import tune as ray_tune
    from ray.tune.schedulers import ASHAScheduler

    shutil.rmtree(folder / "ray", ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    asha = ASHAScheduler(
        max_t=settings.epochs, grace_period=min(settings.grace, settings.epochs), reduction_factor=settings.reduction
    )
    given = {"path": sys.path, "content": [content], "architecture": trial.architecture, "folder": folder}
    found = ray_tune.Tuner(
        ray_tune.with_resources(ray_tune.with_parameters(_training, **given), {"cpu": 1}),
        param_space={"number": ray_tune.grid_search(list(range(settings.trials)))},
        tune_config=ray_tune.TuneConfig(metric="error", mode="min", scheduler=asha),
        run_config=ray_tune.RunConfig(
            name="ray", storage_path=str(folder), verbose=0, failure_config=ray_tune.FailureConfig(max_failures=retries)
        ),
    ).fit()
    whole = {
        number: errors[-1]
        for number in range(settings.trials)
        if len(errors := known(folder, number)) == settings.epochs
    }
    if not whole:
        raise ExportError(f"{trial.architecture_id}: no training from scratch came to its end: {found.errors[:1]}")
    chosen = min(whole, key=whole.__getitem__)
    write_atomic(folder / "best.json", json.dumps({"number": chosen, "error": whole[chosen], "trained": len(whole)}))
    shutil.rmtree(folder / "ray", ignore_errors=True)


def _training(config: dict[str, int], path: list[str], content: list[Any], architecture: Any, folder: Path) -> None:
    """One training, in a worker of Ray Tune."""
    import ray
    from ray import tune as ray_tune

    from nas.executors._cluster import received

    context = received(path, ray.get(content[0]))
    attempt(
        context, Architecture.parse(architecture), config["number"], folder, lambda e: ray_tune.report({"error": e})
    )


def attempt(
    context: Context, architecture: Architecture, number: int, folder: Path, report: Callable[[float], None]
) -> None:
    """Trains an architecture from scratch with the settings of this number, from where it was left.

    Args:
        context: the experiment and its data.
        architecture: what is trained.
        number: of the settings, from 0.
        folder: where weights and errors are kept.
        report: is told the validation error after each epoch, those known already first; it may end the training.
    """
    task = context.trainee.task
    with reproducible(context.experiment.seed):
        fit = Fit(*scratch(context, architecture, number), context.experiment.seed, folder / f"{number}.safetensors")
        errors = known(folder, number)

        def judge() -> None:
            network = fit.trainee.supernet.subnet(architecture)
            network.recalibrate([inputs for inputs, _ in task.calibration()])
            errors.append(error(network, task))
            write_atomic(folder / f"{number}.json", json.dumps(errors))
            report(errors[-1])

        for value in errors:
            report(value)
        if len(errors) < len(fit.history):
            judge()
        fit.run(ToldProgress(lambda words: None), check=judge)


def scratch(context: Context, architecture: Architecture, number: int) -> tuple[SinglePath, Trainee]:
    """The settings of this number, and freshly initialized weights of the architecture alone."""
    alone = Placements(SearchSpace(architecture.input_shape, architecture.layers))
    return drawn(context.experiment, number), Trainee(Supernet(alone), alone, context.trainee.task)


def drawn(experiment: Experiment, number: int) -> SinglePath:
    """Settings, a function of the seed and of their number: the learning rate's logarithm is uniform."""
    settings = experiment.finalize.tune
    assert settings is not None
    rng = np.random.default_rng((experiment.seed, number))
    rate = float(np.exp(rng.uniform(*np.log(settings.learning_rates))))
    regularization = {
        "weight_decay": float(rng.choice(settings.weight_decays)),
        "warmup": float(rng.choice(settings.warmups)),
    }
    return SinglePath.alone(experiment.training, settings.epochs, rate).model_copy(update=regularization)


def tuned(context: Context, architecture: Architecture, folder: Path) -> Supernet | None:
    """The best weights of an architecture trained from scratch; None if it was not."""
    found = best(folder)
    if found is None:
        return None
    training, trainee = scratch(context, architecture, found["number"])
    Fit(training, trainee, context.experiment.seed, folder / f"{found['number']}.safetensors")
    return trainee.supernet


def best(folder: Path) -> dict[str, Any] | None:
    """Which training was the best, and its validation error; None as long as that is not known."""
    path = folder / "best.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def known(folder: Path, number: int) -> list[float]:
    """The validation errors after the epochs of a training, as far as it has come."""
    path = folder / f"{number}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
