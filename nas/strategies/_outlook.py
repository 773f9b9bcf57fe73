"""Outlook: what predictors of an archive's values say of rows that were not evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from nas import pareto
from nas.archive import OK, Trial
from nas.problem import Floats, Genes, Problem
from predictors._role import Examples, Model, Predictor
from predictors.encodings._role import Encoding
from predictors.encodings.columns import Columns


@dataclass(frozen=True)
class Expected:
    """Minimized objectives [n, m] with their deviations, and the probability [n] of being within the bounds."""

    mean: Floats
    std: Floats
    likely: Floats

    def __getitem__(self, rows: np.ndarray) -> Expected:
        return Expected(self.mean[rows], self.std[rows], self.likely[rows])

    def beside(self, other: Expected) -> Expected:
        """Those of both."""
        pairs = ((self.mean, other.mean), (self.std, other.std), (self.likely, other.likely))
        return Expected(*(np.concatenate(pair) for pair in pairs))

    @property
    def violations(self) -> Floats:
        """0 for those that are more likely within the bounds than not."""
        return np.where(self.likely >= 0.5, 0.0, 1 - self.likely)


@dataclass(frozen=True)
class Outlook:
    """Models of what must be evaluated to be known; costs are asked for.

    Attributes:
        problem: with its costs.
        models: by the name of a value.
        values: minimized objectives [n, m] of the evaluated rows within the bounds.
        rows: their genes [n, decisions].
    """

    problem: Problem
    models: Mapping[str, Model]
    values: Floats
    rows: Genes

    @classmethod
    def of(cls, problem: Problem, trials: list[Trial], predictor: Predictor, seed: int) -> Outlook | None:
        """What these trials teach; None where they are too few, or none is within the bounds."""
        trials = [trial for trial in trials if trial.state == OK]
        good = [trial for trial in trials if problem.violation(trial.values) == 0]
        if not good or not len(problem.space.decisions):
            return None
        encoding = problem.encoding or options(problem)
        if len(trials) < predictor.needed(encoding):
            return None
        rows = np.array([trial.genes for trial in trials], dtype=np.int64)
        models = {
            name: fitted(predictor, Examples(encoding, rows, column(trials, name), seed=seed))
            for name in dict.fromkeys([*problem.objectives, *problem.constraints])
            if name not in problem.costs(rows[:1])
        }
        values = np.stack([problem.minimized(trial.values) for trial in good])
        return cls(problem, models, values, np.array([trial.genes for trial in good], dtype=np.int64))

    @property
    def front(self) -> np.ndarray:
        """Mask [n] of the rows that no other one dominates."""
        return pareto.front_mask(self.values)

    def __call__(self, rows: Genes) -> Expected:
        """What is expected of rows [n, decisions]."""
        problem, costs = self.problem, self.problem.costs(rows)
        found = {name: model.predict(rows) for name, model in self.models.items()}
        mean = problem.minimized({**costs, **{name: prediction.mean for name, prediction in found.items()}})
        zeros, likely = np.zeros(len(rows)), np.ones(len(rows))
        std = np.stack([found[name].std if name in found else zeros for name in problem.objectives], axis=-1)
        for name in set(problem.constraints) & set(found):
            below = ndtr((problem.constraints[name] - found[name].mean) / np.maximum(found[name].std, 1e-12))
            likely *= 1 - below if problem.objectives.get(name) == "maximize" else below
        return Expected(mean, std, likely)


def column(trials: list[Trial], name: str) -> Floats:
    """One value of each trial: [n]."""
    return np.array([trial.values[name] for trial in trials])


def fitted(predictor: Predictor, examples: Examples) -> Model:
    """A model of the ratios of positive values, and of the differences of others."""
    target = "log" if (examples.values > 0).all() else "linear"
    return predictor.model_copy(update={"target": target}).fit(examples)


def options(problem: Problem) -> Encoding:
    """What can be seen of the rows of any space: which option each decision takes."""
    return Columns({str(number): np.arange(float(size)) for number, size in enumerate(problem.space.sizes)})
