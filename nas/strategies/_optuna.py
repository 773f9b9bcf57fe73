"""Optuna's samplers as functions of the archive: what `tpe` and `gp` share.

A study in memory is rebuilt from the archive's trials for each batch, and its sampler is made from the batch's seed, so
that nothing is left of earlier calls.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from nas.archive import OK, Trial
from nas.problem import Genes, Problem
from nas.strategies._candidates import Seen

TRIES = 10
"""Refusals in a row that end a batch: samplers propose what is known, or out of bounds, again and again."""
STARTUP = 4
"""Trials that are ok below which a sampler draws at random."""


class OptunaMissingError(RuntimeError):
    """Optuna is not installed; the message says what installs it."""


def load(kind: str) -> Any:
    """The module `optuna`, silent below errors.

    Raises:
        OptunaMissingError: it is not installed.
    """
    try:
        optuna: Any = importlib.import_module("optuna")
    except ImportError as error:
        raise OptunaMissingError(
            f"the strategy {kind} needs optuna ({error}); install it by: pip install 'hardware-nas[compare]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def proposed(optuna: Any, sampler: Any, problem: Problem, trials: Sequence[Trial], n: int) -> Genes:
    """At most n new rows within the bounds on costs, one after the other; those before are pending for the next."""
    study, distributions = told(optuna, sampler, problem, trials)
    known = np.array([trial.genes for trial in trials], dtype=np.int64).reshape(len(trials), len(distributions))
    seen, found, refused = Seen(known), list[Genes](), 0
    while len(found) < n and refused < TRIES:
        trial = study.ask(distributions)
        row = problem.space.canonical(np.array([[trial.params[name] for name in distributions]], dtype=np.int64))
        if seen.new(row)[0] and problem.feasible(row)[0]:
            seen.add(row)
            found.append(row)
            refused = 0
        else:
            refused += 1
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
    return np.concatenate([known[:0], *found])


def told(optuna: Any, sampler: Any, problem: Problem, trials: Sequence[Trial]) -> tuple[Any, dict[str, Any]]:
    """A study that knows the trials, and the distribution of each decision: options without order."""
    categorical = optuna.distributions.CategoricalDistribution
    distributions = {str(n): categorical(tuple(range(int(size)))) for n, size in enumerate(problem.space.sizes)}
    study = optuna.create_study(directions=["minimize"] * len(problem.objectives), sampler=sampler)
    for trial in trials:
        params = dict(zip(distributions, trial.genes, strict=True))
        study.add_trial(
            optuna.trial.create_trial(params=params, distributions=distributions, **_outcome(optuna, problem, trial))
        )
    return study, distributions


def _outcome(optuna: Any, problem: Problem, trial: Trial) -> dict[str, Any]:
    """What Optuna is told of an evaluation: values and excess over the bounds, or that it failed."""
    if trial.state != OK:
        return {"state": optuna.trial.TrialState.FAIL}
    bounds = {"excess": problem.violation(trial.values)} if problem.constraints else {}
    return {"values": problem.minimized(trial.values).tolist(), "constraints": bounds}
