"""Laws that every network must hold; the networks are found by their files.

`examples/KIND.yaml` beside this file is a small space of each, for images [1 8 8] of ten classes; `KIND.name.yaml` is
another one.
"""

from __future__ import annotations

import json
import sys
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnxruntime
import pytest
import torch
import yaml
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from hardware.backends.onnxruntime import OnnxRuntime
from nas import cli
from nas.export._role import Deployable
from nas.export.onnx import Onnx
from nas.export.onnx_int8 import OnnxInt8
from nas.export.python_source import PythonSource, source
from nas.export.safetensors import Safetensors
from searchspaces.architecture import Architecture, Placement
from searchspaces.choice import describe_open
from searchspaces.cost import architecture_cost
from searchspaces.extremes import extremes
from searchspaces.fused import fused
from searchspaces.networks._role import Network, Signature
from searchspaces.parse import parse
from searchspaces.placements import Placements
from searchspaces.quantization.integer import Integer
from searchspaces.registry import kinds
from searchspaces.skeleton import skeleton, take
from searchspaces.space import SearchSpace
from searchspaces.supernet import Supernet
from tests.nas.export.networks import task

M = TypeVar("M", bound=torch.nn.Module)
EXAMPLES = {path.stem: path for path in (Path(__file__).parent / "examples").glob("*.yaml")}
NAMES = sorted(EXAMPLES)
FILES = [pytest.param(name, marks=pytest.mark.exhaustive if "." in name else pytest.mark.slow) for name in NAMES]
"""For tests that export; of a family with several examples the first one is enough for a person."""
SIGNATURE = Signature((1, 8, 8), 10)
EXPERIMENT: dict[str, Any] = {
    "task": {"kind": "classification", "data": {"kind": "digits"}},
    "hardware": {"kind": "roofline"},
    "training": {"kind": "sandwich", "epochs": 1, "batch_size": 256},
    "strategy": {"kind": "nsga2", "evaluations": 4, "population": 4},
    "finalize": {"models": 1},
    "executor": {"kind": "local", "workers": 0},
}


def description(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(EXAMPLES[name].read_text(encoding="utf-8"))
    return loaded


@cache
def opened(name: str) -> tuple[SearchSpace, Placements]:
    space = SearchSpace.of(parse(Network, description(name), at=("space",), open=True), SIGNATURE)
    return space, Placements(space)


@cache
def architectures(name: str) -> list[Architecture]:
    """The smallest and the largest architecture, and three at random."""
    space, placements = opened(name)
    rows = [*extremes(placements), *space.sample(np.random.default_rng(0), 3)]
    return [space.decode(row) for row in rows]


def images(batch: int = 3, dtype: torch.dtype = torch.float64) -> Tensor:
    shape = (batch, *SIGNATURE.input_shape)
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def stirred(module: M) -> M:
    """The module with noise on its parameters, so that branches which start as zero count."""
    generator = torch.Generator().manual_seed(2)
    for parameter in module.parameters():
        parameter += 0.1 * torch.randn(parameter.shape, dtype=parameter.dtype, generator=generator)
    return module


def trained(architecture: Architecture, *batches: Tensor, quantize: bool = False) -> torch.nn.Sequential:
    """A network whose normalizations and observers have seen data."""
    torch.manual_seed(0)
    network = stirred(architecture.build(quantize)).to((batches or (images(),))[0].dtype)
    for batch in batches or (images(16), 2 * images(16)):
        network(batch)
    return network.eval()


def trained_model(architecture: Architecture) -> Deployable:
    """The same as it is handed to the formats."""
    network = trained(architecture, *(inputs for inputs, _ in task().calibration()), quantize=True)
    return Deployable(architecture, network.state_dict(), task(), OnnxRuntime())


def has_shape(placement: Placement, module: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
    assert {tuple(x.shape[1:]) for x in inputs} == {placement.shape}, placement.path


def test_each_network_has_a_small_example() -> None:
    assert {name for name in NAMES if "." not in name} == set(kinds(Network))
    assert all(description(name)["kind"] == name.partition(".")[0] for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_leaves_choices_open_and_its_architectures_read_back(name: str) -> None:
    network = parse(Network, description(name), at=("space",), open=True)
    assert parse(Network, json.loads(json.dumps(describe_open(network))), at=("space",), open=True) == network
    space, _ = opened(name)
    assert len(space.decisions) >= 2 and space.count >= 8
    for architecture in architectures(name):
        assert Architecture.parse(json.loads(json.dumps(architecture.describe()))) == architecture
        assert space.decode(space.encode(architecture)) == architecture


@pytest.mark.parametrize("name", NAMES)
def test_each_block_keeps_its_promised_shape_and_gradients_reach_everything(name: str) -> None:
    for architecture in architectures(name):
        network, trace = architecture.build(), architecture.traced()

        for block, placement in zip(network, trace.placements, strict=True):
            block.register_forward_pre_hook(partial(has_shape, placement))
        x = network(images(dtype=torch.float32))
        assert x.shape[0] == 3 and x.isfinite().all()
        (x * torch.randn_like(x)).sum().backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("name", NAMES)
def test_samples_of_a_batch_do_not_meet(name: str) -> None:
    for architecture in architectures(name):
        network, x = trained(architecture), images()
        torch.testing.assert_close(network(x)[1:2], network(x[1:2]), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_the_cost_is_that_of_the_executed_graph(name: str) -> None:
    for architecture in architectures(name):
        network, found = fused(architecture.build(quantize=False)), architecture_cost(architecture)
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            network(images(1, torch.float32))
        assert 2 * found.macs == counter.get_total_flops()
        assert found.parameters == sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_a_subnet_equals_the_standalone_network_in_value_and_gradient(name: str, training: bool) -> None:
    torch.manual_seed(0)
    supernet = stirred(Supernet(opened(name)[1])).double()
    for architecture in architectures(name):
        subnet = supernet.subnet(architecture).double()
        subnet.recalibrate([images(5)])
        alone = architecture.build().double()
        alone.load_state_dict(subnet.state())
        subnet.train(training), alone.train(training)
        supernet.zero_grad()
        ours, theirs = subnet(images()), alone(images())
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)
        ours.sin().sum().backward(), theirs.sin().sum().backward()
        gradients = dict(alone.named_parameters())
        for index, placement in enumerate(architecture.blocks()):
            for name, role in skeleton(placement.part, placement.shape).roles.items():
                whole = supernet.get_parameter(f"{placement.path}|{role.key}".replace(".", "/")).grad
                assert whole is not None
                expected = gradients[f"{index}.{name}"].grad
                torch.testing.assert_close(take(role, whole), expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_the_inference_form_computes_the_same_and_has_nothing_left_to_fuse(name: str) -> None:
    for architecture in architectures(name):
        network, x = trained(architecture), images()
        found = fused(network)
        torch.testing.assert_close(found(x), network(x), rtol=1e-9, atol=1e-10)
        again = fused(found)
        assert [type(module) for module in again.modules()] == [type(module) for module in found.modules()]


def run(path: Path, inputs: np.ndarray) -> np.ndarray:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"input": inputs})[0]


@pytest.mark.parametrize("name", FILES)
def test_exported_files_compute_the_same_and_int8_nearly(name: str, tmp_path: Path) -> None:
    largest = architectures(name)[1]
    blocks = tuple(place.part.model_copy(update={"quantization": Integer()}) for place in largest.blocks())
    model = trained_model(Architecture(largest.input_shape, blocks))
    with torch.inference_mode():
        expected = model.network(torch.from_numpy(model.calibration)).numpy()
    (path,) = Onnx().write(model, tmp_path)
    np.testing.assert_allclose(run(path, model.calibration), expected, rtol=0, atol=1e-5 * max(1, abs(expected).max()))
    (path,) = OnnxInt8().write(model, tmp_path)
    off = run(path, model.calibration) - expected
    assert 0 < np.square(off).mean() ** 0.5 < 0.1 * expected.std(), "int8 is another function"


@pytest.mark.parametrize("name", FILES)
def test_the_written_source_computes_the_same(name: str, tmp_path: Path) -> None:
    model = trained_model(architectures(name)[1])
    for item in (Safetensors(), PythonSource()):
        item.write(model, tmp_path)
    scope: dict[str, Any] = {"__file__": str(tmp_path / "model.py"), "__name__": "model"}
    exec(compile(source(model), "model.py", "exec"), scope)
    inputs = torch.from_numpy(model.calibration[:9])
    with torch.inference_mode():
        torch.testing.assert_close(scope["load"]()(inputs), model.network(inputs), rtol=0, atol=1e-5)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_runs_from_yaml_to_its_front(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    last = architectures(name)[0].blocks()[-1]
    if last.part.output_shape(last.shape) != (SIGNATURE.outputs,):
        pytest.skip("not a classifier: no task of this project trains it")
    file = tmp_path / f"{name}.yaml"
    file.write_text(yaml.safe_dump({**EXPERIMENT, "space": description(name)}), encoding="utf-8")
    for command in (["validate", str(file)], ["search", str(file), "--runs", str(tmp_path), "--json"]):
        monkeypatch.setattr(sys, "argv", ["nas", *command])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code
        printed = capsys.readouterr().out
        if command[0] == "validate":
            assert f"{len(opened(name)[0].decisions)} decisions, {opened(name)[0].count:,} architectures" in printed
    (model,) = json.loads(printed)
    assert {"model.onnx", "model.py", "model.safetensors", "model.pt2"} <= model["bytes"].keys()
    assert 0 <= model["accuracy_deployed"] <= 1
