"""Every benchmark runs and prints what it promises; how large its numbers are is not for a test to say."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nas.config import read
from tests.nas.experiments import written

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "benchmarks"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py") if "def main" in path.read_text())
PROMISED = {
    "baseline_family": {"baselines", "matched", "within_error", "front", "front_matched", "seconds"},
    "candidates_per_second": {"way", "candidates_per_second", "decisions", "rows", "of_one_by_one"},
    "latency_predictors": {"devices", "spearman", "mape", "within_5", "within_10", "coverage", "rows_per_second"},
    "nsga2_against_random": {"wins", "seeds", "median_nsga2", "median_random", "evaluations"},
    "once_for_all": {"budgets", "worst_points", "tau", "architectures", "epochs", "train_seconds"},
    "operators": {"role", "kind", "latency_ms", "of_attention", "of_depthwise", "of_twin"},
    "population_speed": {"operation", "rows", "decisions", "milliseconds", "rows_per_second"},
    "profile_accuracy": {"networks", "backend", "spearman", "ceiling", "within_5", "within_10", "profile_seconds"},
    "profile_repeatability": {"blocks", "load", "within_3", "median_difference", "noise", "disturbed"},
    "supernet_overhead": {"space", "architecture", "ratio", "low", "high", "fastest", "first_ms", "second_ms"},
}
"""The keys of each benchmark's last line, beside its name."""
POSITIVE = (
    "ratio",
    "low",
    "high",
    "fastest",
    "rows_per_second",
    "candidates_per_second",
    "of_one_by_one",
    "median_nsga2",
    "median_random",
    "latency_ms",
    "of_twin",
)


def lines(name: str, *arguments: str) -> list[dict[str, Any]]:
    """What a benchmark prints in its quick form."""
    command = [sys.executable, str(FOLDER / f"{name}.py"), "--quick", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_benchmark_is_tested() -> None:
    assert set(SCRIPTS) == set(PROMISED)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_it_prints_one_json_line_for_each_result(name: str) -> None:
    found = lines(name)
    assert all(line["benchmark"] == name for line in found)
    assert found[-1].keys() >= PROMISED[name]
    for line in found:
        values = [value for value in line.values() if isinstance(value, float)]
        assert all(map(math.isfinite, values)), line
        assert all(line[key] > 0 for key in POSITIVE if key in line), line


@pytest.mark.slow
def test_baselines_are_set_against_the_front_of_a_run(tmp_path: Path) -> None:
    config = read(written(tmp_path))
    (tmp_path / "resolved.yaml").write_text(json.dumps({**config.resolved(), "versions": {}}), encoding="utf-8")
    entry = {"id": "best", "accuracy_deployed": 1.0, "latency_ms": 1e-9}
    worst = {"id": "worst", "accuracy_deployed": 0.0, "latency_ms": 1e9}
    unmeasured = {"id": "unmeasured", "accuracy_deployed": 1.0, "latency_ms": None}
    (tmp_path / "front.json").write_text(json.dumps([worst, entry, unmeasured]), encoding="utf-8")
    *baselines, summary = lines("baseline_family", "--run", str(tmp_path))
    assert len(baselines) == 2
    assert all(line["matched"] and line["by"] == "best" for line in baselines)
    assert (summary["baselines"], summary["matched"], summary["front"], summary["front_matched"]) == (2, 2, 2, 1)
