"""The remote backend against a real agent on this machine: what it sends, and every way not to reach one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardware.backends._role import UnavailableError, Workload
from hardware.backends.onnxruntime import OnnxRuntime
from hardware.backends.remote import Remote
from hardware.onnx_model import save
from nas.failures import exit_code
from searchspaces.architecture import Architecture
from tests.hardware.agent.agents import SECRET, VARIABLE, running_agent
from tests.hardware.backends.test_onnxruntime import model
from tests.hardware.networks import BRIEF, INPUT, MIXED, Untranslatable


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    folder = tmp_path_factory.mktemp("remote")
    secret = folder / "secret"
    secret.write_bytes(SECRET)
    secret.chmod(0o600)
    with running_agent(folder) as agent:
        yield Remote(port=agent.port, secret_file=str(secret))


def test_failures_stand_in_their_jobs_places(remote: Remote) -> None:
    empty, refused = Workload(Architecture(INPUT, ())), Workload(Architecture(INPUT, (Untranslatable(),)))
    first, second, third = remote.measure([refused, empty, refused], BRIEF)
    assert [first.state, second.state, third.state] == ["unsupported_operator", "ok", "unsupported_operator"]
    assert remote.measure([refused], BRIEF)[0].state == "unsupported_operator"


def test_it_sends_what_onnxruntime_runs_here(remote: Remote) -> None:
    here, there = (backend.measure([Workload(MIXED)], BRIEF)[0] for backend in (OnnxRuntime(), remote))
    assert here.model_bytes == there.model_bytes is not None


def test_the_integer_file_is_measured_where_there_is_one(remote: Remote, tmp_path: Path) -> None:
    for name, operator in (("model.onnx", "Relu"), ("model.int8.onnx", "HardSwish")):
        save(model(operator), tmp_path / name)
        assert remote.measure_export(tmp_path, BRIEF).model_bytes == (tmp_path / name).stat().st_size


def test_the_key_is_that_of_the_machine_and_not_of_its_address(remote: Remote) -> None:
    key, local = json.loads(remote.key()), json.loads(OnnxRuntime().key())
    assert remote.model_copy(update={"host": "localhost"}).key() == remote.key()
    assert key["exporter"] == local["versions"] and key["cpu"] == local["cpu"]
    assert not {"host", "port", "secret_file"} & key["backend"].keys()


def test_an_agent_that_is_not_there_is_one_line_with_the_mend(remote: Remote) -> None:
    absent = remote.model_copy(update={"port": 1})
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1 cannot be reached.*nas agent --port 1") as error:
        absent.key()
    assert exit_code(error.value) == 2 and "\n" not in str(error.value)
    with pytest.raises(UnavailableError, match=r"nowhere\.invalid"):
        remote.model_copy(update={"host": "nowhere.invalid"}).check()


def test_a_wrong_and_a_missing_secret_are_told(remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "a secret of somebody else")
    with pytest.raises(UnavailableError, match=f"{remote.port} does not serve us: it has another secret; give both"):
        Remote(port=remote.port).measure([Workload(Architecture(INPUT, ()))], BRIEF)
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(UnavailableError, match="openssl rand"):
        Remote(port=remote.port).check()
    with pytest.raises(UnavailableError, match="cannot be read"):
        Remote(port=remote.port, secret_file=str(tmp_path / "none")).check()
