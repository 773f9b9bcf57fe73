"""Searches over cells, from a configuration to the files and the report."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from nas import cli
from searchspaces.architecture import Architecture
from searchspaces.networks.cell import genotype
from searchspaces.networks.nas_bench_201 import to_string

CELL = """
  kind: cell
  filters: {choice: [2, 3]}
  stages: [{choice: [1, 2]}, 1]
  nodes: 2
  operations: [skip_connect, max_pool_3x3, sep_conv_3x3]
  quantization: {choice: [{kind: none}, {kind: integer}]}
"""
NAS_BENCH_201 = """
  kind: nas_bench_201
  filters: 3
  cells: {choice: [1, 2]}
"""
REST = """
task: {kind: classification, data: {kind: digits, calibration: 64}}
hardware: {kind: roofline}
profile: {networks: 6, verified: 2, every: 5}
training: {kind: sandwich, epochs: 1, batch_size: 256, random: 1}
strategy: {kind: nsga2, evaluations: 8, population: 4}
finalize: {models: 1}
executor: {kind: local, workers: 0}
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("space", "written"), [(CELL, genotype), (NAS_BENCH_201, to_string)], ids=["cell", "nas_bench_201"]
)
def test_a_search_over_cells_runs_to_its_report(
    space: str, written: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "cells.yaml"
    config.write_text(f"space:{space}{REST}", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["nas", "search", str(config), "--runs", str(tmp_path / "runs"), "--json"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    (model,) = json.loads(capsys.readouterr().out)
    assert {"model.onnx", "model.py", "model.safetensors", "model.pt2"} <= model["bytes"].keys()
    assert model["left_out"] == {} and model["latency_ms"] > 0
    assert callable(written) and str(written(Architecture.parse(model["architecture"])))
    assert 'class="node"' in (tmp_path / "runs" / "cells-1" / "report.html").read_text(encoding="utf-8")
