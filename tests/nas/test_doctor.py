"""Doctor: every backend is tried, and what does not work says why and how to mend it."""

from __future__ import annotations

import json
import sys

import pytest

from hardware.backends import _role
from hardware.backends._role import Backend
from nas import cli, doctor
from nas.doctor import examine, lines
from nas.executors.local import Local
from nas.executors.ray import Ray
from searchspaces.registry import kinds


@pytest.fixture(scope="module")
def found() -> dict[str, object]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(doctor, "kinds", lambda role: [kind for kind in kinds(role) if kind != "torch_compile"])
        return examine()


def test_it_tries_every_backend_and_says_what_is_missing(found: dict[str, dict[str, dict[str, object]]]) -> None:
    backends = found["backends"]
    assert {"onnxruntime", "onnxruntime on cuda", "torch_eager", "torch_eager on cuda", "remote"} <= backends.keys()
    assert backends["onnxruntime"]["works"] and backends["torch_eager"]["works"] and backends["roofline"]["works"]
    for name, state in backends.items():
        assert state["works"] or state["reason"], name
    assert "no secret" in str(backends["remote"]["reason"])


def test_the_lines_hold_every_finding(found: dict[str, dict[str, object]]) -> None:
    text = lines(found)
    json.dumps(found, allow_nan=False)
    for name in (*found["backends"], *found["executors"], *found["readings"]):
        assert len([line for line in text if line.startswith(f"  {name:<20} ")]) == 1, name


def test_an_executor_whose_packages_are_missing_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor._found(Local())["works"]
    monkeypatch.setattr(_role, "find_spec", lambda package: None)
    state = doctor._found(Ray())
    assert not state["works"] and "hardware-nas[ray]" in state["reason"] and "ray" in state["versions"]


def test_a_reading_that_the_machine_does_not_give_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "processor_meter", lambda: "nobody may read it")
    assert doctor._readings()["energy"] == "not readable: nobody may read it"
    assert {"frequency", "temperature", "throttling"} <= doctor._readings().keys()


@pytest.mark.slow
def test_the_command_tries_all(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["nas", "doctor", "--json"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    found = json.loads(capsys.readouterr().out)
    assert set(kinds(Backend)) <= found["backends"].keys() and found["device"]["cpu"]
