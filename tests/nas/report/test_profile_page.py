"""The page of a profile: complete, offline, and true to what was measured."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest

from nas.commands import profile, profile_report
from nas.config import read
from nas.latency_scores import correlation
from nas.progress import LineProgress
from nas.report.profile_page import page, write_profile_page
from nas.report.profile_results import FOLDS, ProfileResults, examine
from nas.run import Run
from tests.nas.experiments import TINY, written


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> ProfileResults:
    folder = tmp_path_factory.mktemp("profile")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAS_CACHE", str(folder))
        run = Run(read(written(folder, TINY)), folder, LineProgress(io.StringIO()))
        return examine(run.profiler)


def data(text: str) -> dict[str, list[float]]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found
    return dict(json.loads(found[1]))


def test_networks_are_predicted_by_models_that_did_not_learn_from_them(results: ProfileResults) -> None:
    assert len(results.networks) == len(results.measurements) >= 2 * FOLDS
    np.testing.assert_allclose(results.believed, results.measured_ms, rtol=0.05)
    assert results.scores.spearman == pytest.approx(correlation(results.believed, results.measured_ms))
    assert results.scores.ceiling == 1.0
    assert all(pair.fused is False for pair in results.pairs)
    assert results.inverted == []


def test_the_page_needs_nothing_but_itself_and_holds_every_network(results: ProfileResults) -> None:
    text = page(results, "tiny <b>")
    assert "tiny &lt;b&gt;" in text
    assert "tiny <b>" not in text
    assert not re.search(r'(src|href)="https?:', text.partition("<script")[0])
    points = data(text)
    np.testing.assert_allclose(points["measured"], results.measured_ms)
    np.testing.assert_allclose(points["errors"], 100 * results.errors)
    assert "noise allows 1.000" in text
    assert "token_mixing(mixer=pooling)" in text, "a block with what differs from the defaults"


def test_it_is_written_whole(results: ProfileResults, tmp_path: Path) -> None:
    path = write_profile_page(results, tmp_path / "page.html", "tiny")
    assert path.read_text(encoding="utf-8") == page(results, "tiny")
    assert [item.name for item in tmp_path.iterdir()] == ["page.html"]


def test_the_command_writes_it_and_lists_the_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_CACHE", str(tmp_path))
    config = written(tmp_path, TINY)
    assert profile_report(config, [], tmp_path / "page.html").is_file()
    found = json.loads(profile(config, [], as_json=True))
    assert found["blocks"]
    assert all(row["measured"] for row in found["blocks"])


def test_too_few_networks_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match=r"profile\.networks"):
        profile_report(written(tmp_path, TINY), ["profile.networks=3"], tmp_path / "page.html")
