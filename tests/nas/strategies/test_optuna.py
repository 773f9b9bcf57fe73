"""What is particular to the strategies that Optuna's samplers make."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from nas.archive import OK, Archive, Trial
from nas.failures import exit_code
from nas.lookup import Lookup
from nas.problem import Problem
from nas.strategies._optuna import OptunaMissingError, load, proposed, told
from nas.strategies._role import Strategy
from nas.strategies.gp import Gp
from nas.strategies.tpe import Tpe
from searchspaces.parse import parse
from tests.nas.tabulated import FakeSpace, judge, problem, search

SAMPLED = pytest.mark.parametrize("strategy", [Tpe(evaluations=30), Gp(evaluations=30)], ids=["tpe", "gp"])


@SAMPLED
def test_without_optuna_it_is_described_and_asking_names_the_extra(
    strategy: Strategy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    data = {
        "task": {"kind": "tabular", "table": "t.csv", "architecture": "a", "objectives": {"error": "e"}},
        "objectives": {"error": "minimize"},
        "strategy": strategy.describe(),
    }
    assert parse(Lookup, json.loads(json.dumps(data))).strategy == strategy
    with pytest.raises(OptunaMissingError) as error:
        strategy.ask(problem(), Archive.memory(), 0)
    assert str(error.value).startswith(f"the strategy {strategy.kind()} needs optuna")
    assert "hardware-nas[compare]" in str(error.value)
    assert exit_code(error.value) == 2


def test_importing_the_strategies_does_not_import_optuna() -> None:
    for module in ("_optuna", "tpe", "gp"):
        text = (Path(__file__).parents[3] / "nas" / "strategies" / f"{module}.py").read_text()
        assert "import optuna" not in text and "from optuna" not in text


def test_a_study_is_told_values_excess_and_failures() -> None:
    bounded = Problem(FakeSpace((4,) * 4), {"error": "minimize", "macs": "maximize"}, {"macs": 9.0})
    trials = [judge(bounded, n, row) for n, row in enumerate(np.array([[3, 3, 0, 0], [0, 2, 0, 0]]))]
    trials.append(Trial(2, "x", (1, 1, 1, 0), {}, {}, "failed", "no memory"))
    optuna = load("tpe")
    study, distributions = told(optuna, optuna.samplers.RandomSampler(seed=0), bounded, trials)
    assert [tuple(found.params[name] for name in distributions) for found in study.trials] == [t.genes for t in trials]
    for trial, found in zip(trials, study.trials, strict=True):
        assert (found.state == optuna.trial.TrialState.COMPLETE) == (trial.state == OK)
    assert study.trials[0].values == [trials[0].values["error"], -trials[0].values["macs"]]
    assert [found.constraints["excess"] for found in study.trials[:2]] == [0.0, pytest.approx(5 / 9)]


def test_a_sampler_that_repeats_itself_ends_the_batch() -> None:
    optuna = load("tpe")
    stubborn = optuna.samplers.PartialFixedSampler({str(n): 1 for n in range(4)}, optuna.samplers.RandomSampler(seed=0))
    found = proposed(optuna, stubborn, problem((4,) * 4), [], 5)
    assert found.tolist() == [[1, 1, 1, 1]]


@pytest.mark.parametrize("seed", range(2))
def test_the_parzen_estimator_is_ahead_of_chance(seed: int) -> None:
    alone = Problem(FakeSpace((4,) * 10, False), {"error": "minimize"})
    guided = search(Tpe(evaluations=80), alone, seed, 80).values(["error"])
    assert guided[40:].mean() < guided[:10].mean() - 0.05


def test_a_batch_cut_in_its_middle_goes_on_as_it_would_have() -> None:
    strategy, archive = Gp(evaluations=30, batch_size=3), search(Gp(evaluations=30, batch_size=3), problem(), 0, 12)
    whole = strategy.ask(problem(), archive, 0)
    archive.add(judge(problem(), 12, whole[0]))
    assert len(whole) == 3
    np.testing.assert_array_equal(strategy.ask(problem(), archive, 0), whole[1:])
