from __future__ import annotations

import csv
import json
import math
import re
import shutil
import sqlite3
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plotly.offline import get_plotlyjs
from synthetic import synthetic_run, write_front

from nas.archive import Archive, ArchiveError
from nas.config import ConfigurationError
from nas.problem import Problem
from nas.report.page import write_report
from nas.report.results import read_results

VOID = {"meta", "br", "link", "img", "input", "hr"}
HOSTILE = """"><script>alert('x')</script><img src=x onerror=alert(1)>"""


class Outline(HTMLParser):
    """Elements with their attributes, ids, and whether every element is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)


def text_of(folder: Path) -> str:
    """The page without plotly's own code."""
    return (folder / "report.html").read_text().replace(get_plotlyjs(), "")


def data_of(folder: Path) -> dict[str, Any]:
    """What the page's charts show."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text_of(folder), re.S)
    assert found
    return json.loads(found[1])


def changed(run: Path, folder: Path, **values: Any) -> Path:
    """A copy of a run whose first exported model has other values."""
    shutil.copytree(run, folder)
    entries = json.loads((folder / "front.json").read_text())
    entries[0] |= values
    write_front(folder, entries)
    write_report(folder)
    return folder


def test_elements_are_closed_and_ids_are_unique(run: Path) -> None:
    outline = Outline(text_of(run))
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert outline.open == []
    assert len(ids) == len(set(ids)) > 10


def test_nothing_is_loaded_from_anywhere(run: Path) -> None:
    text = text_of(run)
    outline = Outline(text)
    for tag, attributes in outline.tags:
        assert "src" not in attributes
        assert tag not in ("link", "iframe", "img", "object", "embed")
        assert not re.match(r"[a-z]*:|//", attributes.get("href") or "#")
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text
    assert "://" not in text.replace("http://www.w3.org/2000/svg", "")


def test_plotly_is_embedded_once(run: Path) -> None:
    assert (run / "report.html").read_text().count(get_plotlyjs()) == 1


def test_hostile_names_stay_text(run: Path, tmp_path: Path) -> None:
    folder = changed(run, tmp_path / HOSTILE.replace("/", ""), id=HOSTILE, latency_state="x", latency_reason=HOSTILE)
    outline = Outline(text_of(folder))
    assert outline.open == []
    assert [tag for tag, _ in outline.tags if tag == "img"] == []
    assert sum(tag == "script" for tag, _ in outline.tags) == 3
    assert not any(name.startswith("on") for _, attributes in outline.tags for name in attributes)
    assert HOSTILE in data_of(folder)["models"]
    assert all("<script" not in point["text"] for point in data_of(folder)["pareto"]["front"])


def test_the_charts_hold_every_evaluation_once(run: Path) -> None:
    shown, results = data_of(run), read_results(run)
    assert len(shown["pareto"]["evaluated"]["x"]) == len(results.feasible)
    assert len(shown["pareto"]["evaluated"]["x"]) + len(shown["pareto"]["excluded"]["x"]) == len(results.trials)
    assert len(shown["volume"]) == len(results.trials)
    assert shown["history"] == list(results.history)
    assert {point["id"] for point in shown["pareto"]["front"]} == {model.id for model in results.models}


def test_the_front_is_drawn_as_measured(run: Path) -> None:
    entries = {entry["id"]: entry for entry in json.loads((run / "front.json").read_text())}
    for point in data_of(run)["pareto"]["front"]:
        entry = entries[point["id"]]
        assert point["x"]["value"] == entry["latency_ms"]
        assert math.isclose(point["x"]["value"] + point["x"]["up"], entry["latency_ms_p90"])
        assert math.isclose(point["x"]["value"] - point["x"]["down"], entry["latency_ms_p10"])
        assert math.isclose(point["y"]["value"], 100 * (1 - entry["accuracy_deployed"]))
        assert math.isclose(point["y"]["believed"], 100 * entry["values"]["error"])


def test_hypervolumes_are_shares_of_the_box_to_the_reference(run: Path) -> None:
    results = read_results(run)
    points = np.array([[trial.values["error"], trial.values["latency_ms"]] for trial in results.feasible])
    reference = points.max(axis=0) + 0.05 * (points.max(axis=0) - points.min(axis=0))
    with Archive.open(run / "archive.sqlite", None) as archive:
        expected = archive.hypervolumes(results.problem, reference)
    np.testing.assert_allclose(results.volumes, expected / np.prod(reference - points.min(axis=0)))
    assert (np.diff(results.volumes) >= 0).all()
    assert 0 < results.volumes[-1] <= 1


def test_the_space_is_that_of_the_configuration(run: Path) -> None:
    results = read_results(run)
    space = results.problem.space
    for trial in results.trials[:5]:
        assert space.decode(np.array(trial.genes)).id == trial.architecture_id  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("objectives", "axes"),
    [
        ({"macs": "minimize", "error": "minimize", "latency_ms": "minimize"}, ("macs", "error")),
        ({"error": "minimize", "parameters": "minimize"}, ("parameters", "error")),
        ({"model_bytes": "minimize", "macs": "maximize"}, ("macs", "model_bytes")),
        ({"macs": "minimize"}, ("macs", "error")),
    ],
)
def test_the_first_two_objectives_are_the_axes(
    tmp_path: Path, objectives: dict[str, str], axes: tuple[str, str]
) -> None:
    folder = synthetic_run(tmp_path / "run", trials=20, models=3, objectives=objectives)
    write_report(folder)
    shown = data_of(folder)["pareto"]
    assert tuple(axis["name"] for axis in shown["axes"]) == axes
    assert all(point["x"]["value"] is not None for point in shown["front"])


def test_a_failed_measurement_is_told_with_its_reason(run: Path, tmp_path: Path) -> None:
    nothing = dict.fromkeys(("latency_ms", "latency_ms_p10", "latency_ms_p90", "noise", "integer_gain"))
    folder = changed(run, tmp_path / "run", **nothing, latency_state="timeout", latency_reason="it <hangs>")
    assert "timeout: it &lt;hangs&gt;" in text_of(folder)
    assert len(data_of(folder)["latency"]["id"]) == len(data_of(folder)["models"]) - 1


def test_a_run_without_exports_or_checkpoint_has_a_page(run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    (folder / "front.json").unlink()
    shutil.rmtree(folder / "checkpoints")
    write_report(folder)
    assert "Nothing is exported yet" in text_of(folder)
    assert Outline(text_of(folder)).open == []
    assert data_of(folder)["first"] is None
    assert data_of(folder)["history"] == []


def test_a_run_with_nothing_within_the_bounds_has_a_page(tmp_path: Path) -> None:
    folder = synthetic_run(tmp_path / "run", 10, 2, {"latency_ms": "maximize", "error": "minimize"})
    write_report(folder)
    shown = data_of(folder)
    assert len(shown["pareto"]["excluded"]["x"]) == 10
    assert shown["pareto"]["evaluated"]["x"] == shown["pareto"]["front"] == []
    assert shown["volume"] == [0.0] * 10


def test_a_run_without_evaluations_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="the folder of a run"):
        write_report(tmp_path)
    shutil.copy(run / "resolved.yaml", tmp_path)
    with pytest.raises(ArchiveError, match="no archive"):
        write_report(tmp_path)
    shutil.copy(run / "archive.sqlite", tmp_path)
    with sqlite3.connect(tmp_path / "archive.sqlite") as connection:
        connection.execute("DELETE FROM trials")
    with pytest.raises(ArchiveError, match="nothing is evaluated yet"):
        write_report(tmp_path)


def test_a_page_is_written_whole_or_not_at_all(run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    before = (folder / "report.html").read_bytes()
    (folder / "front.json").write_text("[{")
    with pytest.raises(json.JSONDecodeError):
        write_report(folder)
    assert (folder / "report.html").read_bytes() == before
    assert not list(folder.glob(".*.tmp"))


def test_the_tables_hold_all_trials(run: Path) -> None:
    trials = read_results(run).trials
    with (run / "archive.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    data = json.loads((run / "archive.json").read_text())
    assert [row["architecture_id"] for row in rows] == [trial.architecture_id for trial in trials]
    assert [float(row["latency_ms"]) for row in rows] == [trial.values["latency_ms"] for trial in trials]
    assert [entry["architecture"] for entry in data] == [trial.architecture for trial in trials]
    assert [entry["values"] for entry in data] == [trial.values for trial in trials]


def test_the_configuration_and_the_device_are_there(run: Path) -> None:
    text = text_of(run)
    assert (run / "resolved.yaml").read_text().splitlines()[0] in text
    assert "2.13.0" in text
    assert read_results(run).models[0].device["cpu"] in text


def test_front_of_the_page_is_that_of_the_problem(run: Path) -> None:
    results = read_results(run)
    values = np.stack([Problem.minimized(results.problem, trial.values) for trial in results.feasible])
    for trial in results.front:
        point = results.problem.minimized(trial.values)
        assert not ((values <= point).all(axis=1) & (values < point).any(axis=1)).any()
