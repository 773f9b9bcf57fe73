"""Each example runs from end to end at a tiny budget; only the sizes and the backend are replaced."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from nas import cli
from nas.config import read
from searchspaces.mixers._role import TokenMixer
from searchspaces.registry import kinds, resolve

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.yaml"))
BUDGET = {
    "hardware": "{kind: roofline}",
    "constraints": "{}",
    "training.epochs": "1",
    "training.batch_size": "128",
    "strategy.evaluations": "6",
    "strategy.population": "6",
    "finalize.models": "1",
    "finalize.epochs": "1",
    "executor": "{kind: local, workers: 0}",
}
SMALL_DATA = {"glyphs": {"task.data.samples_per_class": "20"}}


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_runs_to_its_report(
    example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = "glyphs" if "kind: glyphs" in example.read_text(encoding="utf-8") else "digits"
    overrides = [f"{key}={value}" for key, value in {**BUDGET, **SMALL_DATA.get(data, {})}.items()]
    arguments = [item for override in overrides for item in ("--set", override)]
    monkeypatch.setattr(sys, "argv", ["nas", "search", str(example), "--runs", str(tmp_path), "--json", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    (model,) = json.loads(capsys.readouterr().out)
    folder = tmp_path / f"{example.stem}-1"
    assert json.loads((folder / "front.json").read_text(encoding="utf-8")) == [model]
    assert {"model.onnx", "model.py", "model.safetensors", "model.pt2"} <= model["bytes"].keys()
    assert 0 <= model["accuracy_deployed"] <= 1 and model["latency_ms"] > 0
    for name in ("resolved.yaml", "archive.sqlite", "front.csv", "report.html", "checkpoints/supernet.safetensors"):
        assert (folder / name).stat().st_size > 0


def test_one_example_holds_every_mixer_for_images() -> None:
    space = read(next(path for path in EXAMPLES if path.stem == "all_mixers")).space
    for stage in space.stages:  # type: ignore[attr-defined]
        found = {type(option).kind() for option in stage.block.mixer.options}
        assert found == {kind for kind in kinds(TokenMixer) if 2 in resolve(TokenMixer, kind).spatial_ranks}
