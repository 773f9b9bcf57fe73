from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas import cli, pareto
from nas.archive import Archive
from nas.comparison import Comparison, Curves, compare, ranked, reached, traced, true_front
from nas.config import described, read_source
from nas.problem import InfeasibleError
from nas.report.comparison_page import page, rank_lines
from nas.rivals import RIVALS, compete, installed
from nas.strategies.nsga2 import Nsga2
from nas.strategies.random import Random
from nas.tasks.tabular import Tabular
from tests.nas.tabulated import error

OBJECTIVES: Any = {"error": "minimize", "latency_ms": "minimize"}


def task(folder: Path) -> Tabular:
    lines = ["a,b,c,d,error,latency_ms"]
    for row in itertools.product(range(4), repeat=4):
        lines.append(",".join(map(str, (*row, error(np.array(row)), sum(row)))))
    (folder / "table.csv").write_text("\n".join(lines))
    columns = {"error": "error", "latency_ms": "latency_ms"}
    return Tabular(table=str(folder / "table.csv"), decisions=("a", "b", "c", "d"), objectives=columns)


def comparison(folder: Path, **values: Any) -> Comparison:
    strategies = (Nsga2(evaluations=80, population=10), Random(evaluations=80))
    given = {"task": task(folder), "objectives": OBJECTIVES, "strategies": strategies, "seeds": 4, "at": (20, 80)}
    return Comparison(**{**given, **values})


def test_the_whole_table_has_all_of_the_hypervolume(tmp_path: Path) -> None:
    results = compare(comparison(tmp_path, strategies=(Random(evaluations=256),), at=(256,), seeds=2))
    found = results["competitors"]["random"]
    assert found["hypervolume"]["median"][-1] == 1.0
    assert found["best"]["median"][-1] == min(task(tmp_path).load().values["error"]).round(6)
    assert found["hypervolume"]["median"] == sorted(found["hypervolume"]["median"])


def test_a_comparison_is_repeatable_and_tells_of_each_search(tmp_path: Path) -> None:
    told: list[str] = []
    first = compare(comparison(tmp_path), told.append)
    assert first == compare(comparison(tmp_path))
    assert told == ["nsga2"] * 4 + ["random"] * 4


def test_evolution_is_ahead_of_chance(tmp_path: Path) -> None:
    assert [row["name"] for row in compare(comparison(tmp_path, seeds=8))["ranks"][-1]["rows"]] == ["nsga2", "random"]


def test_the_same_kind_twice_is_numbered(tmp_path: Path) -> None:
    twice = (Random(evaluations=20), Random(evaluations=20, batch_size=2))
    results = compare(comparison(tmp_path, strategies=twice, at=(20,)))
    assert set(results["competitors"]) == {"random", "random-2"}


def test_the_front_keeps_to_the_bounds_and_a_bound_out_of_reach_is_told(tmp_path: Path) -> None:
    table = task(tmp_path).load()
    front, reference = true_front(table, table.problem(OBJECTIVES, {"latency_ms": 5}))
    assert front[:, 1].max() <= 5
    assert (front < reference).all()
    assert pareto.front_mask(front).all()
    with pytest.raises(InfeasibleError):
        true_front(table, table.problem(OBJECTIVES, {"latency_ms": -1}))


def test_before_anything_is_feasible_there_is_no_best_value(tmp_path: Path) -> None:
    table = task(tmp_path).load()
    problem, archive = table.problem({"error": "maximize"}, {"latency_ms": 3}), Archive.memory()
    for number, row in enumerate(np.array([[3, 3, 3, 3], [1, 0, 0, 0], [0, 0, 0, 1], [2, 3, 3, 3]])):
        archive.add(table.trial(number, row))
    best = traced(archive, problem, np.array([0.0]), 1.0, 6)[1]
    feasible = [error(np.array(row)) for row in ([1, 0, 0, 0], [0, 0, 0, 1])]
    np.testing.assert_allclose(best, [np.nan, feasible[0], *[max(feasible)] * 4])


def test_ranks_are_means_over_the_seeds_and_ties_share() -> None:
    def curves(*volumes: float) -> Curves:
        return Curves(np.array(volumes)[:, None], np.zeros((len(volumes), 1)))

    found = ranked({"a": curves(0.9, 0.5), "b": curves(0.8, 0.5)}, 1)
    assert found["rows"] == [{"name": "a", "median": 0.7, "rank": 1.25}, {"name": "b", "median": 0.65, "rank": 1.75}]


def test_evaluations_until_99_percent_are_counted_from_one_and_null_where_most_seeds_fail() -> None:
    assert reached(np.array([[0.5, 0.99, 1.0], [0.995, 1, 1]])) == {"low": 2.0, "median": 2.0, "high": 2.0}
    assert reached(np.array([[0.5, 0.5], [0.5, 0.6]]))["median"] is None


@pytest.mark.parametrize("rival", RIVALS)
def test_rivals_evaluate_each_architecture_once_and_keep_to_the_budget(tmp_path: Path, rival: Any) -> None:
    if not installed(rival):
        pytest.skip(f"the library of {rival} is not installed")
    table = task(tmp_path).load()
    archive = compete(rival, table, table.problem(OBJECTIVES, {"latency_ms": 9}), 45, 3)
    assert len(archive) == len({trial.genes for trial in archive.trials()}) == 45
    again = compete(rival, table, table.problem(OBJECTIVES, {"latency_ms": 9}), 45, 3)
    assert archive.trials() == again.trials()


def test_rivals_that_are_not_installed_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.comparison.installed", lambda rival: False)
    results = compare(comparison(tmp_path, rivals=("pymoo_nsga2",)))
    assert results["missing"] == ["pymoo_nsga2"]
    assert rank_lines(results)[-1] == "not installed: pymoo_nsga2"


def test_the_page_needs_nothing_but_itself_and_escapes_names(tmp_path: Path) -> None:
    html = page(compare(comparison(tmp_path)), "<b>")
    assert "nsga2 leads after 80 evaluations" in html
    assert "&lt;b&gt;" in html
    assert "<b>" not in html.split("<script")[0]
    assert 'src="http' not in html


def test_the_command_prints_ranks_or_json_and_writes_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = comparison(tmp_path, seeds=2).describe()
    path = tmp_path / "comparison.yaml"
    path.write_text(json.dumps({name: value for name, value in found.items() if name != "kind"}))
    cli.compare(path, [], tmp_path / "page.html", True)
    assert json.loads(capsys.readouterr().out)["seeds"] == 2
    cli.compare(path, [], None, False)
    assert capsys.readouterr().out.split()[:3] == ["competitor", "at", "20"]
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")


def test_the_comparison_on_nas_bench_201_is_described_soundly() -> None:
    path = Path(__file__).parents[2] / "benchmarks" / "nas_bench_201.yaml"
    found = described(read_source(path, ["task.objectives.latency_ms=latency_ms.pixel3"]), Comparison)
    assert found.seeds == 20 and found.at == (100, 300, 1000)
    assert all(strategy.evaluations == 1000 for strategy in found.strategies)
    assert set(found.rivals) == set(RIVALS)
