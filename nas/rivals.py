"""Other projects' searches on our problems: the same decisions and budget, repeats and strangers at no charge."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any, Literal, get_args

import numpy as np

from nas.archive import Archive
from nas.problem import Floats, Genes, Problem
from nas.tasks._table import Table

Rival = Literal["optuna_nsga2", "optuna_nsga3", "optuna_tpe", "pymoo_nsga2"]
RIVALS: tuple[Rival, ...] = get_args(Rival)
PATIENCE = 10
"""Proposals for each evaluation at most, as rivals propose what is known again."""
POPULATION = 20
"""Of evolutionary rivals; the default of ours."""
Judge = Callable[[Genes], tuple[Floats, float]]


class Spent(Exception):
    """The budget of evaluations is used up."""


def installed(rival: Rival) -> bool:
    """Whether the rival's library is there."""
    return importlib.util.find_spec(rival.partition("_")[0]) is not None


def compete(rival: Rival, table: Table, problem: Problem, evaluations: int, seed: int) -> Archive:
    """What a rival evaluates of a table, each architecture once; fewer where it proposes nothing new any more."""
    archive, proposals = Archive.memory(), 0
    known: dict[str, dict[str, float]] = {}

    def judge(row: Genes) -> tuple[Floats, float]:
        nonlocal proposals
        proposals += 1
        trial = table.trial(len(archive), problem.space.canonical(row[None])[0])
        if trial.architecture_id not in known:
            archive.add(trial)
            known[trial.architecture_id] = trial.values
        if len(archive) >= min(evaluations, table.space.count) or proposals >= PATIENCE * evaluations:
            raise Spent
        values = known[trial.architecture_id]
        return problem.minimized(values), problem.violation(values)

    with suppress(Spent):
        (_pymoo if rival == "pymoo_nsga2" else _optuna)(rival, problem, judge, seed)
    return archive


def _optuna(rival: Rival, problem: Problem, judge: Judge, seed: int) -> Any:
    """Asks an Optuna sampler and tells it, one trial at a time, without end."""
    optuna: Any = importlib.import_module("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    samplers = {
        "optuna_nsga2": lambda: optuna.samplers.NSGAIISampler(population_size=POPULATION, seed=seed),
        "optuna_nsga3": lambda: optuna.samplers.NSGAIIISampler(population_size=POPULATION, seed=seed),
        "optuna_tpe": lambda: optuna.samplers.TPESampler(seed=seed, multivariate=True),
    }
    study = optuna.create_study(directions=["minimize"] * len(problem.objectives), sampler=samplers[rival]())
    while True:
        trial = study.ask()
        genes = [trial.suggest_categorical(str(n), range(size)) for n, size in enumerate(problem.space.sizes)]
        values, excess = judge(np.array(genes, dtype=np.int64))
        if problem.constraints:
            trial.set_constraint("excess", excess)
        study.tell(trial, values.tolist())


def _pymoo(rival: Rival, problem: Problem, judge: Judge, seed: int) -> Any:
    """Runs pymoo's NSGA-II over integers, with its rounding repair, without end."""
    nsga2, core, crossing, mutation, repair, sampling, running = (
        importlib.import_module(f"pymoo.{name}")
        for name in (
            "algorithms.moo.nsga2",
            "core.problem",
            "operators.crossover.sbx",
            "operators.mutation.pm",
            "operators.repair.rounding",
            "operators.sampling.rnd",
            "optimize",
        )
    )
    sizes = np.asarray(problem.space.sizes)

    def evaluate(self: Any, x: Genes, out: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        out["F"], out["G"] = judge(np.asarray(x, dtype=np.int64))

    decisions: Any = type("Decisions", (core.ElementwiseProblem,), {"_evaluate": evaluate})
    wanted = decisions(
        n_var=len(sizes), n_obj=len(problem.objectives), n_ieq_constr=1, xl=0 * sizes, xu=sizes - 1, vtype=int
    )
    algorithm = nsga2.NSGA2(
        pop_size=POPULATION,
        sampling=sampling.IntegerRandomSampling(),
        crossover=crossing.SBX(prob=0.9, eta=3.0, vtype=float, repair=repair.RoundingRepair()),
        mutation=mutation.PM(eta=3.0, vtype=float, repair=repair.RoundingRepair()),
        eliminate_duplicates=True,
    )
    for attempt in count():
        running.minimize(wanted, algorithm, ("n_gen", 100_000), seed=seed + 1_000_003 * attempt, verbose=False)
