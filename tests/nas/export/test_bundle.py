from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hardware.backends._role import Backend
from hardware.backends.onnxruntime import OnnxRuntime
from hardware.backends.roofline import Roofline
from hardware.backends.torch_eager import TorchEager
from hardware.measurement import Measurement
from hardware.timing import TimingSettings
from nas.export import _bundle
from nas.export._bundle import read_bundle, write_bundle
from nas.export._card import percent
from nas.export._manifest import faults
from nas.export._role import Deployable, ExportError, Format
from nas.export._verification import verify
from nas.export.python_source import PythonSource
from searchspaces.architecture import Architecture
from searchspaces.blocks.classifier import Classifier
from searchspaces.registry import UnknownKindError, kinds, resolve
from tests.nas.export.conftest import Written
from tests.nas.export.networks import BRIEF, MOBILENET, FixedBatch, Untranslatable, deployable, metaformer

PLAIN = ["README.md", "config.json", "measurements.json", "model.onnx", "model.pt2", "model.py", "model.safetensors"]


@pytest.fixture(scope="module")
def small() -> Deployable:
    return deployable(metaformer({"kind": "pooling"}), Roofline())


def test_each_kind_has_a_file_of_its_own() -> None:
    formats = [resolve(Format, kind)() for kind in kinds(Format)]
    assert {item.kind() for item in formats} == {"onnx", "onnx_int8", "python_source", "safetensors", "torch_export"}
    assert len({item.file for item in formats}) == len(formats)


@pytest.mark.slow
def test_the_bundle_is_whole_and_its_manifest_true(integer: Written) -> None:
    listed = json.loads((integer.folder / "MANIFEST.json").read_text())["files"]
    assert sorted(listed) == sorted([*PLAIN, "model.int8.onnx"])
    assert {path.name for path in integer.folder.iterdir()} == {*listed, "MANIFEST.json"}
    for name, entry in listed.items():
        content = (integer.folder / name).read_bytes()
        assert entry == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert [path.name for path in integer.folder.parent.iterdir()] == [integer.folder.name]


@pytest.mark.slow
def test_what_is_returned_is_what_is_stored(integer: Written) -> None:
    assert read_bundle(integer.folder) == integer.returned
    assert json.loads((integer.folder / "measurements.json").read_text()) == integer.returned
    config = json.loads((integer.folder / "config.json").read_text())
    assert Architecture.parse(config["architecture"]) == integer.model.architecture
    assert config["id"] == integer.returned["id"] == integer.model.architecture.id
    assert config["classes"] == list("0123456789") and config["input"]["shape"] == [1, 8, 8]
    assert config["versions"]["torch"] and config["left_out"] == {}


@pytest.mark.slow
def test_numbers_are_those_of_the_files(integer: Written) -> None:
    found, model = integer.returned, integer.model
    errors = [model.task.error(model.network(inputs), targets) for inputs, targets in model.task.test(batch_size=10**6)]
    assert found["accuracy_float32"] == found["accuracy"]["model.onnx"] == 1 - errors[0]
    assert found["deployed"] == "model.int8.onnx"
    assert found["accuracy_deployed"] == found["accuracy"]["model.int8.onnx"]
    for name in ("model.onnx", "model.py", "model.pt2"):
        assert found["differences"][name]["relative"] < 1e-5
    assert 0 < found["differences"]["model.int8.onnx"]["relative"] < 0.1
    assert found["latency_ms_p10"] <= found["latency_ms"] <= found["latency_ms_p90"]
    assert found["integer_gain"]["int8_ms"] > 0 and found["integer_gain"]["float32_ms"] > 0
    assert found["values"] == {"error": 0.25, "latency_ms": 0.125}
    assert all((integer.folder / name).stat().st_size == size for name, size in found["bytes"].items())


@pytest.mark.slow
def test_the_card_shows_the_returned_numbers(integer: Written) -> None:
    text, found = (integer.folder / "README.md").read_text(), integer.returned
    for name, accuracy in found["accuracy"].items():
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{name}`")]
        assert percent(accuracy) in row and f"{found['bytes'][name]:,}" in row
        assert f"{found['differences'][name]['absolute']:.2g}" in row
    numbers = [f"{found[name]:.4g}" for name in ("latency_ms", "latency_ms_p10", "latency_ms_p90")]
    assert f"| {' | '.join(numbers)} | {percent(found['noise'])} | {found['samples']:,} |" in text
    assert f"As deployed (`model.int8.onnx`): {percent(found['accuracy_deployed'])}" in text
    assert f"{found['parameters']:,} parameters" in text and f"{found['macs']:,} multiply" in text
    assert f"{found['integer_gain']['int8_ms']:.4g} ms against {found['integer_gain']['float32_ms']:.4g} ms" in text
    assert f"`model.int8.onnx` on onnxruntime, 1 thread, batch of 1; {found['device']['cpu']}" in text
    assert f"| latency_ms | 0.125 | {found['latency_ms']:.6g} |" in text
    assert f"| error | 0.25 | {1 - found['accuracy_deployed']:.6g} |" in text


@pytest.mark.slow
def test_the_code_in_the_card_runs(integer: Written) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (integer.folder / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 5
    code = "\n".join([blocks[0], *(block + "print(logits.shape, abs(logits).max() > 0)" for block in blocks[1:])])
    ended = subprocess.run([sys.executable, "-c", code], cwd=integer.folder, capture_output=True, text=True)
    assert ended.stdout.splitlines() == ["(1, 10) True"] * 4, ended.stderr
    shutil.rmtree(integer.folder / "__pycache__", ignore_errors=True)


@pytest.mark.slow
def test_a_file_that_was_tampered_with_is_found(integer: Written, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(integer.folder, tmp_path / "copy"))
    assert faults(folder) == []
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-40:] = bytes(40)
    (folder / "model.safetensors").write_bytes(content)
    (folder / "model.onnx").unlink()
    missing, changed = faults(folder)
    assert missing == f"{folder / 'model.onnx'}: is missing"
    assert changed == f"{folder / 'model.safetensors'}: has changed"
    assert read_bundle(folder) is None
    with pytest.raises(ExportError, match=r"model\.py: its outputs differ from the network's by"):
        verify(integer.model, [PythonSource()], folder)
    (folder / "model.safetensors").write_bytes(content[:100])
    with pytest.raises(ExportError, match=r"model\.py does not work by itself: .*SafetensorError"):
        verify(integer.model, [PythonSource()], folder)


@pytest.mark.slow
def test_a_convolutional_network_on_torch(tmp_path: Path) -> None:
    model = deployable(MOBILENET, TorchEager())
    kinds = ["torch_export", "python_source", "safetensors"]
    found = write_bundle(model, tmp_path / "exports" / "net", kinds, BRIEF)
    files = {path.name for path in (tmp_path / "exports" / "net").iterdir()}
    assert files == {*PLAIN, "MANIFEST.json"} - {"model.onnx"}
    assert found["deployed"] == "model.pt2" and found["integer_gain"] is None and found["latency_ms"] > 0
    assert found["accuracy_deployed"] == found["accuracy"]["model.pt2"]


@pytest.mark.slow
def test_a_format_that_refuses_is_left_out_with_its_reason(tmp_path: Path) -> None:
    model = deployable(Architecture((1, 8, 8), (Untranslatable(), Classifier(classes=10))))
    found = write_bundle(model, tmp_path / "net", ["onnx", "python_source", "safetensors"], BRIEF)
    assert sorted(found["bytes"]) == ["model.py", "model.safetensors"]
    assert found["left_out"]["model.onnx"]["state"] == "unsupported_operator"
    assert "linalg_eigh" in found["left_out"]["model.onnx"]["reason"]
    assert json.loads((tmp_path / "net" / "config.json").read_text())["left_out"] == found["left_out"]
    card = (tmp_path / "net" / "README.md").read_text()
    assert "| `model.onnx` | unsupported_operator | " in card and "Not measured: " in card
    assert found["latency_ms"] is None and found["accuracy_deployed"] is None
    assert found["differences"]["model.py"]["relative"] < 1e-5


@pytest.mark.slow
def test_a_network_with_a_fixed_batch_says_so(tmp_path: Path) -> None:
    backend = OnnxRuntime(batch_size=7)
    model = deployable(Architecture((1, 8, 8), (FixedBatch(), Classifier(classes=10))), backend)
    found = write_bundle(model, tmp_path / "net", ["onnx", "torch_export"], BRIEF)
    sizes = json.loads((tmp_path / "net" / "config.json").read_text())["batch_sizes"]
    assert sizes == {"model.onnx": 7, "model.pt2": 7}
    card = (tmp_path / "net" / "README.md").read_text()
    assert "`model.onnx` batches of 7, `model.pt2` batches of 7" in card and "np.zeros((7, 1, 8, 8)" in card
    assert found["differences"]["model.onnx"]["relative"] < 1e-5


class Killed(Roofline):
    def measure_export(self, directory: Path, settings: TimingSettings) -> Measurement:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


def test_killed_in_the_middle_nothing_is_there_and_the_next_export_clears_up(small: Deployable, tmp_path: Path) -> None:
    folder = tmp_path / "net"
    process = os.fork()
    if not process:
        write_bundle(deployable(small.architecture, Killed()), folder, ["safetensors"])
    assert os.WTERMSIG(os.waitpid(process, 0)[1]) == signal.SIGKILL
    assert not folder.exists() and len(list(tmp_path.iterdir())) == 1
    write_bundle(small, folder, ["safetensors"])
    assert [path.name for path in tmp_path.iterdir()] == ["net"]


def test_a_failed_export_leaves_the_older_bundle(small: Deployable, tmp_path: Path, monkeypatch: Any) -> None:
    folder = tmp_path / "net"
    before = write_bundle(small, folder, ["safetensors"])
    with monkeypatch.context() as patch:
        patch.setattr(_bundle, "card", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_bundle(small, folder, ["safetensors"])
    assert read_bundle(folder) == before and [path.name for path in tmp_path.iterdir()] == ["net"]
    after = write_bundle(replace(small, values={"error": 0.5}), folder, ["safetensors"])
    assert read_bundle(folder) == after != before


def test_what_is_no_bundle_is_not_replaced(small: Deployable, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    for place in (tmp_path / "mine", tmp_path / "mine" / "letter.txt"):
        with pytest.raises(FileExistsError, match=re.escape(str(place))):
            write_bundle(small, place, ["safetensors"])
    with pytest.raises(OSError, match=re.escape(str(tmp_path / "mine" / "letter.txt"))):
        write_bundle(small, tmp_path / "mine" / "letter.txt" / "net", ["safetensors"])
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"


def test_an_unknown_format_is_named(small: Deployable, tmp_path: Path) -> None:
    with pytest.raises(UnknownKindError, match="did you mean 'onnx'"):
        write_bundle(small, tmp_path / "net", ["onxx"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("backend", [Roofline(), OnnxRuntime()], ids=["roofline", "onnxruntime"])
def test_without_the_backends_file_nothing_is_deployed(small: Deployable, backend: Backend, tmp_path: Path) -> None:
    found = write_bundle(replace(small, backend=backend), tmp_path / "net", ["safetensors"], BRIEF)
    assert found["deployed"] is None and found["accuracy_deployed"] is None
    words = (tmp_path / "net" / "README.md").read_text().partition("## Latency\n\n")[2]
    if backend.kind() == "roofline":
        computed = f"{found['latency_ms']:.4g} ms, computed by the model of hardware roofline, 1 thread, batch of 1"
        assert words.startswith(computed)
    else:
        assert found["latency_ms"] is None and words.startswith("Not measured: compile_failed")


def test_weights_that_are_missing_are_an_error(small: Deployable, tmp_path: Path) -> None:
    state = dict(list(small.state.items())[1:])
    with pytest.raises(RuntimeError, match=re.escape(next(iter(small.state)))):
        write_bundle(Deployable(small.architecture, state, small.task, Roofline()), tmp_path / "net", ["safetensors"])
    assert list(tmp_path.iterdir()) == []
