"""Quality of shared weights: what is compared, that nothing is trained twice, and what the report says."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kendalltau

from nas.config import read
from nas.progress import LineProgress
from nas.quality import FILE, Compared, Comparing, Ranking, distinct, error_alone, measure_quality, read_quality
from nas.report.charts import charts
from nas.report.page import write_report
from nas.report.quality import caption
from nas.report.results import read_results
from nas.run import Run
from tests.nas.experiments import TINY, written
from tests.nas.report.synthetic import synthetic_run
from tests.searchspaces.spaces import METAFORMER, space

SECTION = "quality: {architectures: 4, epochs: 2}\n"


class Stopped(Exception):
    pass


def run(folder: Path, text: str = TINY + SECTION) -> Run:
    (folder / "run").mkdir(exist_ok=True)
    return Run(read(written(folder, text)), folder / "run", LineProgress(io.StringIO()))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    found = run(tmp_path_factory.mktemp("quality"))
    found.train()
    measure_quality(found)
    return found


def text(found: Run) -> str:
    return (found.folder / FILE).read_text(encoding="utf-8")


def test_both_errors_are_those_of_the_architecture(finished: Run) -> None:
    found = read_quality(finished.folder)
    assert found is not None and found.epochs == 2
    assert [one.genes for one in found.compared] == distinct(finished.space, 4, 0)
    for one in found.compared:
        row = np.array(one.genes)
        assert one.id == finished.space.decode(row).id
        assert one.error_shared == finished.context.evaluator.error(row)
    assert len({one.error_alone for one in found.compared}) > 1


def test_the_same_is_found_whatever_was_computed_before(finished: Run) -> None:
    job = Comparing(distinct(finished.space, 4, 0)[2], 2)
    (found,) = finished.pool.map([job])
    known = read_quality(finished.folder)
    assert known is not None and found == known.compared[2]


@pytest.mark.slow
def test_longer_training_alone_is_another_number(finished: Run) -> None:
    architecture = finished.trainee.extremes[1]
    errors = [error_alone(finished.context, architecture, epochs, lambda words: None) for epochs in (0, 25)]
    assert errors[1] < errors[0] - 0.15


def test_a_stopped_comparison_goes_on_where_it_was(finished: Run, tmp_path: Path) -> None:
    stopped = run(tmp_path)
    stopped.train()
    calls = iter(range(10))

    def stop() -> None:
        if next(calls) == 2:
            raise Stopped

    stopped.check = stop
    with pytest.raises(Stopped):
        measure_quality(stopped)
    half = read_quality(stopped.folder)
    assert half is not None and len(half.compared) == 2
    resumed, jobs = run(tmp_path), []
    resumed.train()
    original = resumed.pool.map
    resumed.pool.map = lambda wanted, *rest: (jobs.extend(wanted), original(wanted, *rest))[1]  # type: ignore[method-assign]
    measure_quality(resumed)
    assert [job.genes for job in jobs] == distinct(resumed.space, 4, 0)[2:]
    assert text(resumed) == text(finished)
    measure_quality(resumed)
    assert len(jobs) == 2


def test_it_is_off_unless_asked_for_and_changes_nothing_of_the_search(finished: Run, tmp_path: Path) -> None:
    plain = run(tmp_path, TINY)
    measure_quality(plain)
    assert not (plain.folder / FILE).exists() and read_quality(plain.folder) is None
    assert plain.fingerprint == finished.fingerprint


def test_other_epochs_are_another_comparison(finished: Run, tmp_path: Path) -> None:
    other = run(tmp_path, TINY + SECTION.replace("epochs: 2", "epochs: 0").replace("4", "2"))
    other.train()
    (other.folder / FILE).write_text(text(finished), encoding="utf-8")
    measure_quality(other)
    found = read_quality(other.folder)
    assert found is not None and found.epochs == 0 and len(found.compared) == 2


def test_architectures_are_distinct_and_all_where_there_are_few() -> None:
    tiny = space({**METAFORMER, "stages": []})
    assert len(distinct(tiny, 20, 0)) == len(set(distinct(tiny, 20, 0))) == tiny.count == 2
    large = space(METAFORMER)
    assert len(set(distinct(large, 50, 3))) == 50
    assert distinct(large, 50, 3)[:20] != distinct(large, 50, 4)[:20]


def compared(shared: list[float], alone: list[float]) -> Ranking:
    pairs = zip(shared, alone, strict=True)
    return Ranking.of(5, [Compared(str(n), (n,), first, second) for n, (first, second) in enumerate(pairs)])


def test_tau_is_that_of_scipy_and_absent_where_it_is_not_defined() -> None:
    rng = np.random.default_rng(0)
    shared, alone = rng.random(20).round(1), rng.random(20).round(1)
    found = compared(list(shared), list(alone))
    assert (found.kendall_tau, found.p_value) == pytest.approx(tuple(kendalltau(shared, alone)))
    assert compared([0.1, 0.2, 0.4], [0.5, 0.6, 0.9]).kendall_tau == pytest.approx(1.0)
    for few in (compared([0.5], [0.1]), compared([0.5, 0.5], [0.1, 0.2])):
        assert few.kendall_tau is None and "Too few errors differ" in caption(few)


def test_the_report_shows_it_where_it_was_asked_for(tmp_path: Path) -> None:
    folder = synthetic_run(tmp_path / "run")
    assert 'id="quality"' not in write_report(folder).read_text(encoding="utf-8")
    found = compared([0.1, 0.2, 0.4, 0.3], [0.2, 0.1, 0.9, 0.5])
    (folder / FILE).write_text(json.dumps(asdict(found)), encoding="utf-8")
    page = write_report(folder).read_text(encoding="utf-8")
    assert 'id="quality"' in page and "Kendall&#x27;s tau of the two rankings is 0.67" in page
    chart = charts(read_results(folder))["quality"]
    assert (chart["x"], chart["y"]) == ([20.0, 10.0, 90.0, 50.0], [10.0, 20.0, 40.0, 30.0])
    assert [words[:8] for words in chart["text"]] == [f"<b>{n}</b>" for n in range(4)]
