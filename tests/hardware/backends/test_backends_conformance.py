"""What every backend must hold; a new file in the folder is tested without a word here, unless it needs settings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hardware.backends._role import Backend, Workload
from hardware.device import Device
from hardware.onnx_model import export_onnx
from searchspaces.architecture import Architecture
from searchspaces.blocks.token_mixing import TokenMixing
from searchspaces.mixers.depthwise import Depthwise
from searchspaces.parse import parse
from searchspaces.quantization.integer import Integer
from searchspaces.quantization.none import NoQuantization
from searchspaces.registry import kinds, resolve
from tests.hardware.agent.agents import SECRET, VARIABLE, running_agent
from tests.hardware.networks import BRIEF, CONVOLUTIONAL

SLOW = {"torch_compile", "executorch"}
"""They take seconds for each network."""

pytestmark = pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.slow) if kind in SLOW else kind for kind in kinds(Backend)]
)

INT8 = Architecture(
    CONVOLUTIONAL.input_shape,
    tuple(place.part.model_copy(update={"quantization": Integer()}) for place in CONVOLUTIONAL.blocks()),
)
LARGE = Architecture((8, 32, 32), (TokenMixing(mixer=Depthwise(kernel=7)),) * 6)


NEEDED: dict[str, dict[str, Any]] = {}
"""What a backend's description must say for these tests."""


@pytest.fixture(scope="module", autouse=True)
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The other machine of `remote`."""
    with pytest.MonkeyPatch.context() as patch, running_agent(tmp_path_factory.mktemp("agent")) as agent:
        patch.setenv(VARIABLE, SECRET.decode())
        patch.setitem(NEEDED, "remote", {"port": agent.port})
        yield


@pytest.fixture(autouse=True)
def installed(kind: str, agent: None) -> None:
    """Skips backends whose runtime is an extra that is not here."""
    part = backend(kind)
    if part.extra:
        for package in part.runtimes:
            pytest.importorskip(package)


def backend(kind: str, **fields: int) -> Backend:
    """A backend by its name."""
    return resolve(Backend, kind)(**NEEDED.get(kind, {}), **fields)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files a user gets."""
    folder, network = tmp_path_factory.mktemp("export"), CONVOLUTIONAL.build().eval()
    sample = torch.zeros(1, *CONVOLUTIONAL.input_shape)
    torch.export.save(torch.export.export(network, (sample,)), folder / "model.pt2")
    export_onnx(network, CONVOLUTIONAL.input_shape, folder / "model.onnx")
    (folder / "config.json").write_text(json.dumps({"architecture": CONVOLUTIONAL.describe()}))
    return folder


def test_each_job_gets_a_measurement_in_its_place(kind: str) -> None:
    seen: list[tuple[int, int]] = []
    jobs = [Workload(LARGE), Workload(CONVOLUTIONAL), Workload(INT8), Workload(Architecture((8, 32, 32), ()))]
    large, small, int8, empty = backend(kind).measure(jobs, BRIEF, lambda *at: seen.append(at))
    for measurement in (large, small, int8, empty):
        assert measurement.ok, measurement.reason
        assert measurement.latency_ms_p10 is not None
        assert measurement.latency_ms_p90 is not None
        assert 0 < measurement.latency_ms_p10 <= measurement.milliseconds <= measurement.latency_ms_p90
        assert measurement.model_bytes is not None
    assert large.milliseconds > 2 * empty.milliseconds
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == seen[-1][1]


def test_no_jobs_no_measurements(kind: str) -> None:
    assert backend(kind).measure([], BRIEF) == []


def test_trained_weights_and_calibration_are_taken(kind: str) -> None:
    calibration = np.random.default_rng(0).standard_normal((4, *INT8.input_shape), dtype=np.float32)
    job = Workload(INT8, INT8.build().state_dict(), calibration)
    assert backend(kind).measure([job], BRIEF)[0].ok


def test_a_larger_batch_takes_longer(kind: str) -> None:
    one, many = (backend(kind, batch_size=size).measure([Workload(LARGE)], BRIEF)[0] for size in (1, 16))
    assert many.milliseconds > 2 * one.milliseconds


def test_measuring_leaves_threads_and_random_state_as_they_were(kind: str) -> None:
    torch.set_num_threads(2)
    state = torch.get_rng_state()
    backend(kind, threads=1).measure([Workload(CONVOLUTIONAL)], BRIEF)
    assert torch.get_num_threads() == 2
    assert torch.equal(state, torch.get_rng_state())
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_exported_files_are_measured(kind: str, exported: Path) -> None:
    measurement = backend(kind).measure_export(exported, BRIEF)
    assert measurement.ok, measurement.reason
    assert measurement.model_bytes


def test_missing_files_are_a_failure_with_a_reason(kind: str, tmp_path: Path) -> None:
    measurement = backend(kind).measure_export(tmp_path, BRIEF)
    assert measurement.state == "compile_failed"
    assert measurement.reason


def test_the_key_holds_all_that_latency_depends_on(kind: str) -> None:
    here = Device.here()
    keys = {backend(kind, **fields).key(here) for fields in ({}, {"threads": 2}, {"batch_size": 2})}
    assert len(keys) == 3
    assert backend(kind).key() == backend(kind).key(here)
    assert json.loads(backend(kind).key())


def test_the_description_reads_back(kind: str) -> None:
    part = backend(kind, threads=2)
    assert parse(Backend, part.describe()) == part


def test_integer_policies_are_deployed_as_the_backend_says(kind: str) -> None:
    part = INT8.blocks()[0].part
    narrow = part.model_copy(update={"quantization": Integer(weight_bits=4)})
    expected = Integer() if backend(kind).supports_integer else NoQuantization()
    assert backend(kind).deployed(narrow).quantization == expected
    assert backend(kind).deployed(part) == backend(kind).deployed(narrow)
    assert backend(kind).deployed(CONVOLUTIONAL.blocks()[0].part) == CONVOLUTIONAL.blocks()[0].part
