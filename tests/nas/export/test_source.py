from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from hardware.measurement import MeasurementError
from nas.export._construction import literal
from nas.export._source import Definitions
from nas.export._verification import verify
from nas.export.python_source import PythonSource, source
from nas.export.safetensors import Safetensors
from searchspaces.architecture import Architecture
from searchspaces.blocks.classifier import Classifier
from tests.nas.export import networks
from tests.nas.export.networks import INTEGER, MIXERS, MOBILENET, Untranslatable, deployable, metaformer

NETWORKS = [metaformer(*MIXERS[:4], quantization=INTEGER), metaformer(*MIXERS[4:], norm="layer"), MOBILENET]
IDS = ["metaformer-1", "metaformer-2", "mobilenet"]


@pytest.mark.parametrize("network", NETWORKS, ids=IDS)
def test_the_source_computes_the_same(network: dict[str, Any], tmp_path: Path) -> None:
    model = deployable(network)
    Safetensors().write(model, tmp_path)
    scope: dict[str, Any] = {"__file__": str(tmp_path / "model.py"), "__name__": "model"}
    exec(compile(source(model), "model.py", "exec"), scope)
    pixels = torch.from_numpy(model.task.splits.test.pixels[:9])
    with torch.inference_mode():
        inputs = next(model.task.test(9))[0]
        torch.testing.assert_close(scope["standardize"](pixels), inputs, rtol=0, atol=1e-6)
        torch.testing.assert_close(scope["load"]()(inputs), model.network(inputs), rtol=0, atol=1e-6)
    assert scope["CLASSES"] == tuple("0123456789") and scope["INPUT_SHAPE"] == (1, 8, 8)


def test_the_source_runs_where_this_project_is_not(tmp_path: Path) -> None:
    model = deployable(NETWORKS[0])
    formats = [Safetensors(), PythonSource()]
    for item in formats:
        item.write(model, tmp_path)
    assert verify(model, formats, tmp_path).files["model.py"].relative < 1e-6
    text = (tmp_path / "model.py").read_text()
    (tmp_path / "model.py").write_text(text.replace("import torch\n", "import searchspaces\nimport torch\n"))
    with pytest.raises(RuntimeError, match="searchspaces must not be needed"):
        verify(model, formats, tmp_path)


@pytest.mark.parametrize("network", NETWORKS, ids=IDS)
def test_the_source_is_clean_and_needs_torch_and_safetensors_alone(network: dict[str, Any], tmp_path: Path) -> None:
    text = source(deployable(network))
    (tmp_path / "model.py").write_text(text)
    for command in (["check", "--isolated"], ["format", "--check", "--isolated", "--line-length", "120"]):
        ended = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--no-cache", "model.py"], cwd=tmp_path, capture_output=True
        )
        assert ended.returncode == 0, ended.stdout.decode()
    assert not any(word in text for word in ("searchspaces", "jaxtyping", "def take", "Float["))
    nodes = list(ast.walk(ast.parse(text)))
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    tops = {name.partition(".")[0] for name in imported}
    assert tops - set(sys.stdlib_module_names) == {"torch", "safetensors"}


def test_an_operator_from_outside_brings_its_functions_and_constants() -> None:
    text = source(deployable(Architecture((1, 8, 8), (Untranslatable(), Classifier(classes=10)))))
    places = [
        text.index(line) for line in ("SHARE = 0.25", "HALF_SHARE = SHARE / 2", "def scaled(", "class Eigenvalues(")
    ]
    assert places == sorted(places) and "Eigenvalues(0.5)," in text and "numpy" not in text


def made(folder: Path, name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(folder)
    return __import__(name)


def test_two_definitions_of_one_name_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "def half(x):\n    return x // {0}\n\n\nclass Layer:\n    def size(self):\n        return half(9)\n"
    one = made(tmp_path, "layer_of_one", text.format(1), monkeypatch)
    two = made(tmp_path, "layer_of_two", text.format(2), monkeypatch)
    third = made(
        tmp_path, "third_layer", "from layer_of_one import half as own\n\n\nclass Other:\n    x = own(7)\n", monkeypatch
    )
    definitions = Definitions({"build"})
    names = [definitions.add(cls) for cls in (one.Layer, two.Layer, third.Other, two.Layer)]
    assert names == ["Layer", "Layer2", "Other", "Layer2"]
    scope: dict[str, Any] = {}
    exec("\n".join(definitions.texts), scope)
    assert (scope["Layer"]().size(), scope["Layer2"]().size(), scope["Other"].x) == (9, 4, 7)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import numpy as np\n\n\nclass Layer:\n    x = np.zeros(1)\n", "uses numpy as np"),
        ("import jaxtyping\n\n\nclass Layer:\n    x: jaxtyping.Float\n", "uses jaxtyping"),
        ("def make():\n    class Layer:\n        pass\n    return Layer\n\n\nLayer = make()\n", "no definition of"),
    ],
)
def test_source_that_needs_more_than_torch_is_refused(
    text: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = made(tmp_path, f"needs_{abs(hash(text))}", text, monkeypatch)
    with pytest.raises(MeasurementError, match=reason) as caught:
        Definitions(set()).add(module.Layer)
    assert caught.value.state == "unsupported_operator"


def test_annotations_become_plain_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "from collections.abc import Iterator\nfrom jaxtyping import Float\nfrom torch import Tensor\n\n\nclass Ünit:\n"
        '    def forward(self, x: Float[Tensor, "b ü"], *, é: tuple[Float[Tensor, "b"], int])'
        ' -> Float[Tensor, "b"] | None:\n'
        '        return x\n\n    @staticmethod\n    def take(name: str) -> None:\n        """Gone."""\n'
        "\n    def auxiliary_losses(self, x: Tensor) -> Iterator[Tensor]:\n        yield decision_entropy(x)\n"
        "\n    def hidden_axes(self) -> dict[str, int]:\n        return axes_of(self)\n"
    )
    definitions = Definitions(set())
    definitions.add(made(tmp_path, "annotated", text, monkeypatch).Ünit)
    (found,) = definitions.texts
    assert found.rstrip().splitlines() == [
        "class Ünit:",
        "    def forward(self, x: Tensor, *, é: tuple[Tensor, int]) -> Tensor | None:",
        "        return x",
    ]
    assert definitions.imports == {("torch", "Tensor", "Tensor")}


@pytest.mark.parametrize("value", [None, True, -1, 0.1, "a", 'a"b\\', "a\nb", (1,), (), [1, (2, "x")], {"k": [1.5]}])
def test_literals_read_back(value: Any) -> None:
    assert ast.literal_eval(literal(value)) == value


def test_long_literals_are_broken_and_read_back() -> None:
    value = tuple(f"class number {index}" for index in range(40))
    text = literal(value, reserve=10)
    assert max(map(len, text.splitlines())) <= 120 and ast.literal_eval(text) == value
    assert literal(float("inf")) == 'float("inf")'
    with pytest.raises(MeasurementError, match="no source can say"):
        literal(networks)
