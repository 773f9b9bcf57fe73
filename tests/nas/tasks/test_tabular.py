from __future__ import annotations

import gzip
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas import commands, pareto
from nas.archive import Archive
from nas.data._images import DataError
from nas.lookup import Lookup, trials
from nas.strategies._role import Strategy
from nas.strategies.predictor_guided import PredictorGuided
from nas.strategies.random import Random
from nas.tasks._table import Table, TableSpace
from nas.tasks.tabular import Tabular
from predictors.encodings.nas_bench_201 import NasBench201, text
from searchspaces import registry
from searchspaces.faults import DescriptionError
from searchspaces.parse import parse

SHARED = Path(__file__).parents[4] / "shared" / "data"
BOTH = {"error": "minimize", "latency_ms": "minimize"}


def written(folder: Path, name: str, lines: list[str], compressed: bool = False) -> str:
    data = "\n".join(lines).encode() + b"\n"
    (folder / name).write_bytes(gzip.compress(data) if compressed else data)
    return str(folder / name)


def depths(folder: Path) -> Tabular:
    """Twelve of sixteen combinations of a number and a word, in two files that are joined."""
    rows = [(d, k) for d in (1, 2, 4, 8) for k in ("conv", "pool", "skip", "attention")][:12]
    first = written(folder, "a.csv", ["id,depth,mixer,error", *(f"{d}{k},{d},{k},{1 / d}" for d, k in rows)])
    second = written(folder, "b.csv", ["id,ms", *(f"{d}{k},{d * len(k)}" for d, k in reversed(rows))], True)
    columns = {"error": "error", "latency_ms": "ms"}
    return Tabular(table=first, joined=(second,), key="id", decisions=("depth", "mixer"), objectives=columns)


def sparse(n: int = 60) -> TableSpace:
    every = np.array(list(itertools.product(range(4), repeat=4)), dtype=np.int64)
    rows = every[np.random.default_rng(0).permutation(len(every))[:n]]
    return TableSpace(rows, np.full(4, 4), [{} for _ in rows])


def test_files_are_joined_by_their_key_whatever_the_order(tmp_path: Path) -> None:
    table = depths(tmp_path).load()
    for number, description in enumerate(table.space.descriptions):
        assert table.values["latency_ms"][number] == float(description["depth"]) * len(description["mixer"])
        assert table.values["error"][number] == 1 / float(description["depth"])


def test_the_same_task_is_loaded_once(tmp_path: Path) -> None:
    assert depths(tmp_path).load() is depths(tmp_path).load()


def test_cells_become_rows_of_the_encoding(tmp_path: Path) -> None:
    rows = np.array([[0, 1, 2, 3, 4, 0], [4, 4, 4, 4, 4, 4]])
    path = written(tmp_path, "c.csv", ["arch,e", *(f"{text(row)},0.5" for row in rows)])
    table = Tabular(table=path, architecture="arch", objectives={"error": "e"}).load()
    np.testing.assert_array_equal(table.space.rows, rows)
    assert isinstance(table.encoding, NasBench201)


def test_lists_of_option_numbers_become_rows(tmp_path: Path) -> None:
    path = written(tmp_path, "c.csv", ["arch,e", "7 0 1,0.5", "7 2 1,0.6"])
    table = Tabular(table=path, architecture="arch", objectives={"error": "e"}).load()
    assert table.space.rows.tolist() == [[0, 0, 0], [0, 1, 0]]


def test_values_are_scaled_as_the_description_says(tmp_path: Path) -> None:
    path = written(tmp_path, "c.csv", ["arch,accuracy,s", "0 1,93.5,0.002", "1 0,10,0.5"])
    data = {
        "task": {
            "kind": "tabular",
            "table": path,
            "architecture": "arch",
            "objectives": {
                "error": {"column": "accuracy", "offset": 1, "factor": -0.01},
                "latency_ms": {"column": "s", "factor": 1000},
                "accuracy": "accuracy",
            },
        },
        "objectives": BOTH,
        "strategy": {"kind": "random", "evaluations": 2},
    }
    table = parse(Lookup, data).task.load()
    np.testing.assert_allclose(table.values["error"], [0.065, 0.9])
    np.testing.assert_allclose(table.values["latency_ms"], [2, 500])
    np.testing.assert_array_equal(table.values["accuracy"], [93.5, 10])


def test_what_a_scaled_column_cannot_hold_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, "c.csv", ["arch,e", "0 1,0.5"])
    data = {"kind": "tabular", "table": path, "architecture": "arch", "objectives": {"error": {"column": "e", "of": 1}}}
    with pytest.raises(DescriptionError, match="objectives"):
        parse(Tabular, data)
    found = parse(Tabular, {**data, "objectives": {"error": {"column": "f", "offset": 1}}})
    with pytest.raises(DataError, match="no column f"):
        found.load()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objectives": {"error": "eror"}}, "no column eror .did you mean 'error'"),
        ({"table": "missing.csv"}, "missing.csv: cannot be read"),
        ({"key": None}, "name the column that joins"),
        ({"decisions": ("depth",)}, "stands in several rows"),
        ({"decisions": ()}, "either the column"),
        ({"objectives": {"error": "mixer"}}, "must hold numbers"),
        ({"free": ("macs",)}, "free values must be among"),
    ],
)
def test_faults_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        depths(tmp_path).model_copy(update=change).load()


def test_a_row_that_a_file_lacks_and_a_value_that_is_none_are_named(tmp_path: Path) -> None:
    first, second = written(tmp_path, "a.csv", ["id,e", "x,1", "y,nan"]), written(tmp_path, "b.csv", ["id,m", "x,1"])
    task = Tabular(table=first, joined=(second,), key="id", decisions=("id",), objectives={"error": "e"})
    with pytest.raises(DataError, match=r"1 rows of .*a.csv are missing, such as id = y"):
        task.load()
    with pytest.raises(DataError, match="row 2 of column e is not a finite number"):
        task.model_copy(update={"joined": ()}).load()


@pytest.mark.parametrize("n", [2, 60, 256])
def test_what_is_bred_is_in_the_table_and_differs_from_its_parent(n: int) -> None:
    space, rng = sparse(n), np.random.default_rng(1)
    parents = space.sample(rng, 300)
    mutants = space.canonical(space.mutate(parents, rng, 0.25))
    crossed = space.canonical(space.crossover(parents, parents[::-1], rng))
    assert (mutants != parents).any(axis=1).all()
    assert len(space.numbers(np.concatenate([mutants, crossed]))) == 600


def test_the_nearest_row_is_the_nearest() -> None:
    space = sparse()
    asked = np.array(list(itertools.product(range(4), repeat=4)), dtype=np.int64)
    distance = (asked[:, None] != space.rows).sum(axis=2)
    found = (asked != space.canonical(asked)).sum(axis=1)
    np.testing.assert_array_equal(found, distance.min(axis=1))


@pytest.mark.parametrize("kind", registry.kinds(Strategy))
def test_every_strategy_exhausts_a_table_with_gaps(tmp_path: Path, kind: str) -> None:
    table = depths(tmp_path).load()
    problem, archive = table.problem(BOTH, {}), Archive.memory()  # type: ignore[arg-type]
    found = list(trials(registry.resolve(Strategy, kind)(evaluations=99), table, problem, archive, 0))
    assert {trial.architecture_id for trial in found} == {f"row-{number}" for number in range(12)}


def test_free_values_are_costs_whose_bounds_are_kept(tmp_path: Path) -> None:
    table = depths(tmp_path).model_copy(update={"free": ("latency_ms",)}).load()
    problem = table.problem(BOTH, {"latency_ms": 10})  # type: ignore[arg-type]
    found = list(trials(Random(evaluations=99), table, problem, Archive.memory(), 0))
    assert len(found) == (table.values["latency_ms"] <= 10).sum()
    assert all(trial.values["latency_ms"] <= 10 for trial in found)


def config(folder: Path, evaluations: int) -> Path:
    task = depths(folder)
    data = {
        "task": task.describe() | {"kind": "tabular"},
        "objectives": BOTH,
        "strategy": {"kind": "nsga2", "population": 4, "evaluations": evaluations},
    }
    path = folder / "table.yaml"
    path.write_text(json.dumps(data))
    return path


def test_a_search_over_a_table_writes_its_front_and_is_resumed(tmp_path: Path) -> None:
    path = config(tmp_path, 11)
    first = commands.search(path, [], commands.Placing(tmp_path, "one", False), True)
    again = commands.search(path, [], commands.Placing(tmp_path, "one", True), True)
    assert json.loads(first) == json.loads(again) == json.loads((tmp_path / "one" / "front.json").read_text())
    with Archive.open(tmp_path / "one" / "archive.sqlite", None) as archive:
        assert len(archive) == 11


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared tables are not there")
def test_guided_by_predictors_most_of_the_front_of_nas_bench_201_is_found_early() -> None:
    table = nas_bench_201("1080ti_256")
    problem = table.problem({"accuracy": "maximize", "latency_ms": "minimize"}, {})
    archive = Archive.memory()
    list(trials(PredictorGuided(evaluations=100), table, problem, archive, 0))
    values = problem.minimized(table.values)
    reference = values[pareto.front_mask(values)].max(axis=0)
    assert archive.hypervolumes(problem, reference)[-1] >= 0.97 * pareto.hypervolume(values, reference)


def nas_bench_201(device: str) -> Table:
    return Tabular(
        table=str(SHARED / "nb201_accuracy.csv.gz"),
        joined=(str(SHARED / "nb201_latency.csv.gz"),),
        key="arch_str",
        architecture="arch_str",
        objectives={"accuracy": "accuracy_12_epochs.cifar10-val", "latency_ms": f"latency_ms.{device}"},
    ).load()
