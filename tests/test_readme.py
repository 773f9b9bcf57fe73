"""Every command and every piece of YAML and Python of the README runs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.DOTALL)
FAST = [
    "training.epochs=1",
    "training.batch_size=256",
    "strategy.population=4",
    "finalize.models=1",
    "finalize.epochs=1",
    "profile.verified=1",
    "executor={kind: local, workers: 0}",
]
FEW = ["profile.networks=10", "hardware={kind: roofline}"]
"""As many as the page of a profile needs, at no cost."""
FRAME = """
task: {kind: classification, data: {kind: digits, calibration: 64}}
space:
  kind: metaformer
  stem: {patch: 4, width: 4}
  stages: [{depth: 1, block: {mixer: {kind: pooling}, channel_mixer: {kind: mlp, ratio: 1.0}}}]
hardware: {kind: roofline}
training: {kind: sandwich}
strategy: {kind: nsga2, evaluations: 4}
"""


def blocks(language: str) -> list[str]:
    return [text for found, text in BLOCKS if found == language]


def commands() -> list[str]:
    lines = [line.partition(" #")[0].strip() for text in blocks("console") for line in text.splitlines()]
    return [line for line in lines if line]


def placed(fragment: str) -> dict[str, object]:
    """A piece of YAML in a whole configuration, where its first key belongs."""
    whole, piece = yaml.safe_load(FRAME), yaml.safe_load(fragment)
    if "mixer" in piece:
        whole["space"]["stages"][0]["block"].update(piece)
    else:
        whole.update(piece)
    return whole  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the README's Python files and a few images."""
    folder = tmp_path_factory.mktemp("readme")
    for text in blocks("python"):
        (folder / text.splitlines()[0].removeprefix("# ")).write_text(text, encoding="utf-8")
    rng = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (folder / "my_images" / name).mkdir(parents=True)
        for index in range(40):
            pixels = rng.integers(0, 255, (20, 18, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "my_images" / name / f"{index}.png")
    return folder


def call(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NAS_CACHE": str(folder / "cache"), "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    code = "import sys; sys.argv[0] = 'nas'; from nas.cli import main; main()"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("number", range(len(blocks("yaml"))))
def test_every_piece_of_yaml_is_valid(number: int, workshop: Path) -> None:
    config = workshop / f"piece-{number}.yaml"
    config.write_text(yaml.safe_dump(placed(blocks("yaml")[number])), encoding="utf-8")
    done = call(["validate", config.name], workshop)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_own_parts_and_own_images_make_a_whole_search(workshop: Path) -> None:
    whole: dict[str, object] = {"profile": {"networks": 8}}
    pieces = [placed(text) for text in blocks("yaml")]
    for key, piece in (("task", 1), ("space", 4), ("hardware", 5)):
        whole[key] = pieces[piece][key]
    config = workshop / "own.yaml"
    config.write_text(yaml.safe_dump({**yaml.safe_load(FRAME), **whole}), encoding="utf-8")
    done = call(["search", config.name, "--name", "own", *with_overrides(FAST)], workshop)
    assert done.returncode == 0, done.stderr
    (source,) = (workshop / "runs" / "own" / "exports").glob("*/model.py")
    assert "searchspaces" not in source.read_text(encoding="utf-8")


def with_overrides(values: list[str]) -> list[str]:
    return [item for value in values for item in ("--set", value)]


@pytest.mark.slow
def test_every_command_runs(workshop: Path) -> None:
    for line in commands():
        words = shlex.split(line)
        if words[0] == "make":
            assert f"\n{words[1]}:" in (ROOT / "Makefile").read_text(encoding="utf-8")
            continue
        assert words[0] == "nas"
        arguments, _, target = " ".join(words[1:]).partition(" > ")
        budget = ["strategy.evaluations=4", *FAST]
        if words[1] == "search" and "--set" in words:
            budget = FAST
            arguments = arguments.replace("evaluations=100", "evaluations=4")
        extra = {"search": [*budget, *FEW], "profile": FEW}.get(words[1], [])
        done = call([*shlex.split(arguments), *with_overrides(extra)], workshop)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        if target:
            (workshop / target).write_text(done.stdout, encoding="utf-8")
    assert (workshop / "runs" / "second" / "report.html").exists()
