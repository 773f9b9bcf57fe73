"""The agent as a process of its own: what it measures, what it refuses, and that no client ends it."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hardware.agent.client import Client
from hardware.agent.wire import MAGIC, WireError, greet_agent
from hardware.device import Device
from hardware.timing import TimingSettings
from tests.hardware.agent.agents import SECRET, RunningAgent, running_agent
from tests.hardware.networks import BRIEF

FATAL = """
import os
import onnxruntime

class Session(onnxruntime.InferenceSession):
    def __init__(self, model, *arguments, **named):
        if b"fatal" in model:
            os.abort()
        super().__init__(model, *arguments, **named)

onnxruntime.InferenceSession = Session
"""
"""Makes the measuring process die of models that hold the word `fatal`, as a fault of a runtime would."""


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningAgent]:
    folder = tmp_path_factory.mktemp("agent")
    (folder / "sitecustomize.py").write_text(FATAL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        with running_agent(folder) as found:
            yield found


def model(name: str = "weights", columns: int = 4) -> onnx.ModelProto:
    """A matrix product."""
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])
    target = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", columns])
    weight = numpy_helper.from_array(np.ones((4, columns), np.float32), name)
    graph = helper.make_graph([helper.make_node("MatMul", ["x", name], ["y"])], "g", [source], [target], [weight])
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])


def connection(agent: RunningAgent) -> socket.socket:
    return socket.create_connection(("127.0.0.1", agent.port), timeout=20)


def still_serves(agent: RunningAgent) -> bool:
    with Client.connected("127.0.0.1", agent.port, SECRET) as client:
        return client.describe().cpu == Device.here().cpu


def test_models_are_measured_in_their_order_with_progress(agent: RunningAgent) -> None:
    seen: list[tuple[int, int]] = []
    models = [model(columns=columns).SerializeToString() for columns in (4, 100_000)]
    with Client.connected("127.0.0.1", agent.port, SECRET) as client:
        small, large = client.measure(models, 1, 2, BRIEF, lambda *at: seen.append(at))
        assert client.measure([], 1, 1, BRIEF) == []
    assert small.ok and large.ok and large.milliseconds > 3 * small.milliseconds
    assert [small.model_bytes, large.model_bytes] == [len(content) for content in models]
    assert seen == [(done, 6) for done in range(1, 7)]


def test_a_model_that_the_runtime_refuses_fails_alone(agent: RunningAgent) -> None:
    with Client.connected("127.0.0.1", agent.port, SECRET) as client:
        wrong, right = client.measure([b"no model", model().SerializeToString()], 1, 1, BRIEF)
    assert wrong.state == "compile_failed" and "protobuf" in wrong.reason and right.ok


def test_a_model_that_takes_its_process_down_is_a_state_and_spares_the_others(agent: RunningAgent) -> None:
    with Client.connected("127.0.0.1", agent.port, SECRET) as client:
        good, bad = model().SerializeToString(), model("fatal").SerializeToString()
        before, crashed, after = client.measure([good, bad, good], 1, 1, BRIEF)
    assert crashed.state == "crashed" and "SIGABRT" in crashed.reason
    assert before.ok and after.ok


def test_external_data_is_refused_before_the_runtime_sees_it(agent: RunningAgent, tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(bytes(64))
    external = model()
    onnx.external_data_helper.set_external_data(external.graph.initializer[0], str(tmp_path / "outside"))
    external.graph.initializer[0].ClearField("raw_data")
    with Client.connected("127.0.0.1", agent.port, SECRET) as client:
        (refused,) = client.measure([external.SerializeToString()], 1, 1, BRIEF)
    assert refused.state == "compile_failed" and "external data" in refused.reason


@pytest.mark.parametrize("length", [b"\x08", b"\x88\x00", b"\x88\x80\x00"])
def test_external_data_is_found_however_its_length_is_written(length: bytes) -> None:
    from hardware.agent.worker import refuse_external_data
    from hardware.measurement import MeasurementError

    entry = b"\x0a" + length + b"location" + b"\x12\x01f"
    assert onnx.StringStringEntryProto.FromString(entry).key == "location"
    with pytest.raises(MeasurementError, match="external data"):
        refuse_external_data(b"before" + entry + b"after")
    refuse_external_data(model("allocation").SerializeToString())


def test_a_wrong_secret_is_refused(agent: RunningAgent) -> None:
    with pytest.raises(WireError, match="another secret"), connection(agent) as ours:
        greet_agent(ours, b"another secret altogether")
    assert still_serves(agent)


def test_garbage_and_oversized_frames_end_their_connection_alone(agent: RunningAgent) -> None:
    with connection(agent) as ours:
        ours.sendall(bytes(range(256)) * 64)
        with pytest.raises(WireError):
            greet_agent(ours, SECRET)
    with connection(agent) as ours:
        greet_agent(ours, SECRET)
        ours.sendall(struct.pack("!IQ", 2, 2**40))
        assert ours.recv(1) == b""
    assert still_serves(agent)
    assert "over the limit" in agent.said.read_text()


def test_a_recorded_connection_cannot_be_played_again(agent: RunningAgent) -> None:
    ours, recorded = connection(agent), []

    class Recording:
        """The connection, with all that is sent through it kept."""

        def sendall(self, content: bytes) -> None:
            recorded.append(content)
            ours.sendall(content)

        def __getattr__(self, name: str) -> object:
            return getattr(ours, name)

    with ours:
        channel = greet_agent(Recording(), SECRET)  # type: ignore[arg-type]
        channel.send({"do": "describe"}, within_s=5)
        assert "device" in channel.receive(within_s=5)[0]
    with connection(agent) as again:
        again.sendall(b"".join(recorded))
        assert again.recv(len(MAGIC) + 32, socket.MSG_WAITALL)[: len(MAGIC)] == MAGIC
        with pytest.raises((AssertionError, ConnectionError)):
            assert again.recv(1) != b""
    assert still_serves(agent)


@pytest.mark.slow
def test_a_slow_client_is_cut_off_and_the_next_one_served(agent: RunningAgent) -> None:
    with connection(agent) as ours:
        ours.sendall(MAGIC[:3])
        assert still_serves(agent)
        ours.settimeout(1)
        assert ours.recv(100).startswith(MAGIC)
        assert ours.recv(1) == b""


@pytest.mark.parametrize(
    "request_",
    [
        {"do": "nothing"},
        {},
        {"do": "measure"},
        {"do": "measure", "threads": True, "batch_size": 1, "settings": {}},
        {"do": "measure", "threads": 1, "batch_size": 10**9, "settings": {}},
        {"do": "measure", "threads": 1, "batch_size": 1, "settings": {"unheard": 1}},
        {"do": "measure", "threads": 1, "batch_size": 1, "settings": {"visits": "1"}},
    ],
)
def test_requests_that_make_no_sense_end_their_connection_alone(
    agent: RunningAgent, request_: dict[str, object]
) -> None:
    with connection(agent) as ours:
        channel = greet_agent(ours, SECRET)
        channel.send(request_, within_s=5)
        with pytest.raises(WireError, match="ended"):
            channel.receive(within_s=20)
    assert still_serves(agent)


def test_a_client_that_leaves_frees_the_agent_at_once(agent: RunningAgent) -> None:
    endless = {"visits": 1, "visit_ms": 1e9, "warmup_ms": 0.0}
    with connection(agent) as ours:
        channel = greet_agent(ours, SECRET)
        channel.send({"do": "load"}, model().SerializeToString(), within_s=5)
        channel.receive(within_s=5)
        channel.send({"do": "measure", "threads": 1, "batch_size": 1, "settings": endless}, within_s=5)
        assert "progress" in channel.receive(within_s=60)[0]
    assert still_serves(agent)
    assert "left during a measurement" in agent.said.read_text()


def test_it_never_imports_torch() -> None:
    heavy = "{'torch', 'onnx', 'pydantic', 'scipy', 'searchspaces'}"
    code = "import hardware.agent.server, hardware.agent.worker, hardware.agent.__main__, sys\n"
    code += f"assert not {heavy} & set(sys.modules), sorted({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_neither_it_nor_its_measuring_process_maps_torch(agent: RunningAgent) -> None:
    settings = TimingSettings(visits=1, visit_ms=1e9, warmup_ms=0.0)
    with connection(agent) as ours:
        channel = greet_agent(ours, SECRET)
        channel.send({"do": "load"}, model().SerializeToString(), within_s=5)
        channel.receive(within_s=5)
        long = {"visits": settings.visits, "visit_ms": settings.visit_ms, "warmup_ms": settings.warmup_ms}
        channel.send({"do": "measure", "threads": 1, "batch_size": 1, "settings": long}, within_s=5)
        channel.receive(within_s=60)
        children = Path(f"/proc/{agent.process.pid}/task/{agent.process.pid}/children").read_text().split()
        maps = [Path(f"/proc/{number}/maps").read_text() for number in (agent.process.pid, *children)]
    assert len(maps) == 2 and "onnxruntime" in maps[1]
    assert not any("/torch/" in text for text in maps)


def test_loopback_alone_is_heard_unless_told_otherwise(tmp_path: Path) -> None:
    with running_agent(tmp_path) as quiet:
        assert "not encrypted" not in quiet.said.read_text()
    with running_agent(tmp_path, "--host", "0.0.0.0") as open_:
        while "not encrypted" not in open_.said.read_text():
            time.sleep(0.01)
        assert still_serves(open_)


def test_it_does_not_start_without_a_secret(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("0123456789abcdef")
    (tmp_path / "secret").chmod(0o644)
    command = [sys.executable, "-m", "hardware.agent", "--secret-file", str(tmp_path / "secret")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2 and "chmod 600" in done.stderr and "Traceback" not in done.stderr
