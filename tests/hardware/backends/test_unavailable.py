"""Runtimes and GPUs that are not there: told with the mend, never replaced by something else."""

from __future__ import annotations

import json

import pytest
import torch

from hardware.backends import _role
from hardware.backends._cuda import CudaBackend
from hardware.backends._role import Backend, UnavailableError, Workload
from hardware.backends.openvino import OpenVino
from hardware.backends.torch_eager import TorchEager
from hardware.device import Device
from hardware.measurement import MeasurementError
from searchspaces.architecture import Architecture
from searchspaces.parse import parse
from searchspaces.registry import kinds, resolve
from tests.hardware.networks import BRIEF, INPUT

ON_GPU = [kind for kind in kinds(Backend) if issubclass(resolve(Backend, kind), CudaBackend)]


def test_a_missing_runtime_is_told_with_the_extra_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_role, "find_spec", lambda package: None if package in ("openvino", "nncf") else object())
    with pytest.raises(
        UnavailableError, match=r'openvino needs openvino and nncf.*pip install "hardware-nas\[openvino\]"'
    ):
        OpenVino().key()
    monkeypatch.setattr(_role, "find_spec", lambda package: None)
    with pytest.raises(UnavailableError, match=r"pip install torch$"):
        TorchEager().check()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("kind", ON_GPU)
def test_without_a_gpu_cuda_is_refused_in_the_runtimes_words(kind: str) -> None:
    backend = parse(Backend, {"kind": kind, "device": "cuda"})
    with pytest.raises(UnavailableError, match=f"{kind} cannot use device: cuda here .*(CUDA|NVIDIA).*set device: cpu"):
        backend.key()
    job = Workload(Architecture(INPUT, ()))
    with pytest.raises(UnavailableError):
        backend.measure([job], BRIEF)
    assert isinstance(backend, CudaBackend)
    with backend.settings():
        refused = next(iter(backend.prepared([job])))
    assert isinstance(refused, MeasurementError) and refused.state == "compile_failed" and "CUDA" in refused.reason


@pytest.mark.parametrize("kind", ON_GPU)
def test_tables_that_were_measured_before_gpus_were_known_keep_their_keys(kind: str) -> None:
    here = Device.here()
    part = resolve(Backend, kind)
    key = json.loads(part().key(here))
    assert key["backend"] == {"kind": kind, "threads": 1, "batch_size": 1}
    if kind != "torch_compile":
        assert part().key(here) == here.key(part.runtimes, backend={"kind": kind, "threads": 1, "batch_size": 1})


@pytest.mark.parametrize("kind", ON_GPU)
def test_the_key_of_a_gpu_holds_it_and_its_driver(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    part = resolve(Backend, kind)
    monkeypatch.setattr(part, "cuda_fault", lambda self: "")
    monkeypatch.setattr("hardware.backends._cuda._drivers", lambda: ["NVIDIA Example, 570.1"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    key = json.loads(part.model_validate({"device": "cuda"}).key())
    assert key["backend"]["device"] == "cuda"
    assert key["cuda"] == {"drivers": ["NVIDIA Example, 570.1"], "visible": "1"}
