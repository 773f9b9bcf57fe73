"""Programs that crash, hang and hoard: each becomes a state, and harms nobody else."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from torch import nn

from hardware import isolation
from hardware.backends._role import Workload
from hardware.isolation import in_this_process, shut_down
from hardware.measurement import Measurement
from searchspaces.architecture import Architecture
from searchspaces.blocks._role import Block
from searchspaces.part import Shape
from tests.hardware.networks import BRIEF
from tests.hardware.wild import SHAPE, Wild, job

QUICK = replace(BRIEF, prepare_ms=60_000.0)
IMPATIENT = replace(QUICK, timeout_ms=100.0)
"""For programs that hang; a busy machine may stall any other that long."""


@pytest.fixture(autouse=True, scope="module")
def no_worker_stays() -> Iterator[None]:
    yield
    shut_down()


def workers() -> list[psutil.Process]:
    """Worker processes of this process that live."""
    found = psutil.Process().children()
    return [
        child for child in found if child.status() != psutil.STATUS_ZOMBIE and "_serve" in " ".join(child.cmdline())
    ]


def test_programs_run_in_another_process_which_is_used_again() -> None:
    Wild().measure([job()], QUICK)
    (first,) = workers()
    Wild(threads=2).measure([job()], QUICK)
    assert workers() == [first]
    shut_down()
    assert workers() == []


@pytest.mark.parametrize(
    ("prepare", "run", "state", "words"),
    [
        ("segfault", "nothing", "crashed", "^killed by SIGSEGV$"),
        pytest.param("nothing", "segfault", "crashed", "^killed by SIGSEGV$", marks=pytest.mark.slow),
        pytest.param("kill", "nothing", "crashed", "^killed by SIGKILL$", marks=pytest.mark.slow),
        ("nothing", "exit", "crashed", "^exit code 3: first words\nlast words$"),
        ("nothing", "raise", "crashed", "ArithmeticError: these words"),
        ("nothing", "hang", "timeout", "no end of running it after 0.7"),
        pytest.param("nothing", "spin", "timeout", "no end of running it after 0.7", marks=pytest.mark.slow),
        ("unsupported", "nothing", "unsupported_operator", "no kernel for it"),
    ],
)
def test_a_failure_is_the_state_of_its_own_job_and_the_others_are_measured(
    prepare: str, run: str, state: str, words: str
) -> None:
    jobs = [job(number=1), job(prepare, run, number=2), job(number=3)]
    before, failed, after = Wild().measure(jobs, IMPATIENT)
    assert (failed.state, failed.latency_ms) == (state, None)
    assert re.search(words, failed.reason, re.DOTALL), failed.reason
    for measurement, size in ((before, 8), (after, 10)):
        assert measurement.ok, measurement.reason
        assert measurement.model_bytes == size
        assert measurement.blocks is not None
        assert measurement.blocks.visits == IMPATIENT.visits


def test_a_program_that_hangs_while_it_is_prepared_is_a_timeout() -> None:
    hanging, fine = Wild().measure([job("spin"), job()], replace(QUICK, prepare_ms=500.0))
    assert (hanging.state, hanging.reason) == ("timeout", "no end of preparing it after 0.5 s")
    assert fine.ok


def test_a_greedy_program_runs_out_of_memory_before_the_machine_does(monkeypatch: pytest.MonkeyPatch) -> None:
    shut_down()
    poor = "; import hardware.memory; hardware.memory.free_bytes = lambda: 1 << 30; from hardware.isolation"
    monkeypatch.setattr(isolation, "_BOOT", isolation._BOOT.replace("; from hardware.isolation", poor))
    greedy, fine = Wild().measure([job("grow"), job()], QUICK)
    shut_down()
    assert greedy.state == "out_of_memory"
    assert "MemoryError" in greedy.reason
    assert fine.ok
    assert resource.getrlimit(resource.RLIMIT_DATA)[0] == resource.RLIM_INFINITY, "this process has no limit"


@pytest.mark.slow
def test_many_failures_leave_every_other_measurement() -> None:
    deeds = ["segfault", "nothing", "unsupported", "kill", "nothing", "exit"]
    found = Wild().measure([job(deed, number=number) for number, deed in enumerate(deeds)], QUICK)
    states = ["crashed", "ok", "unsupported_operator", "crashed", "ok", "crashed"]
    assert [measurement.state for measurement in found] == states


def test_jobs_whose_shared_work_crashes_are_measured_alone() -> None:
    found = Wild(shared="segfault").measure([job(), job("shared"), job()], QUICK)
    assert [measurement.state for measurement in found] == ["ok", "crashed", "ok"]


def test_reference_networks_that_crash_are_left_out() -> None:
    (measurement,) = Wild(references="segfault").measure([job()], QUICK)
    assert measurement.ok
    assert measurement.window is not None
    assert measurement.window.references_ms == ()


def test_an_export_that_crashes_is_a_state(tmp_path: Path) -> None:
    assert Wild().measure_export(tmp_path / "segfault", QUICK).state == "crashed"
    assert Wild().measure_export(tmp_path / "nothing", QUICK).ok


def test_what_the_backend_raises_reaches_the_caller_and_the_worker_stays() -> None:
    with pytest.raises(ArithmeticError, match="these words"):
        Wild().measure([job("raise")], QUICK)
    assert len(workers()) == 1
    assert Wild().measure([job()], QUICK)[0].ok


def test_a_part_that_only_this_process_knows_is_measured_here_on_request() -> None:
    class Local(Block):
        def build(self, shape: Shape) -> nn.Module:
            return nn.Identity()

    unknown = Workload(Architecture(SHAPE, (Local(),)))
    with pytest.raises(TypeError, match="in_this_process"):
        Wild().measure([unknown], QUICK)
    shut_down()
    with in_this_process():
        assert Wild().measure([unknown], QUICK)[0].ok
    assert workers() == []


def test_a_worker_that_died_while_idle_is_replaced() -> None:
    Wild().measure([job()], QUICK)
    (worker,) = workers()
    worker.kill()
    worker.wait()
    assert Wild().measure([job()], QUICK)[0].ok


def test_an_idle_worker_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    shut_down()
    monkeypatch.setattr(isolation, "_BOOT", isolation._BOOT.replace("_serve({handle})", "_serve({handle}, idle_s=0.5)"))
    assert Wild().measure([job()], QUICK)[0].ok
    (worker,) = workers()
    assert isolation._mine.worker.process.wait(timeout=30) == 0
    assert not worker.is_running()
    assert Wild().measure([job()], QUICK)[0].ok
    shut_down()


def test_an_interrupt_ends_the_worker_and_reaches_the_caller() -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    threads = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        Wild().measure([job()], QUICK, interrupt)
    assert workers() == []
    assert threading.active_count() == threads
    assert Wild().measure([job()], QUICK)[0].ok


def test_signals_of_the_terminal_do_not_end_a_worker() -> None:
    Wild().measure([job()], QUICK)
    (worker,) = workers()
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(worker.pid, number)
    assert Wild().measure([job()], QUICK)[0].ok
    assert workers() == [worker]


@pytest.mark.parametrize("deed", ["nothing", "spin"])
def test_killing_the_parent_leaves_no_worker(deed: str) -> None:
    program = (
        "import sys; from hardware import isolation; from tests.hardware.wild import Wild, job\n"
        "from tests.hardware.networks import BRIEF\n"
        "Wild().measure([job()], BRIEF); print(isolation._mine.worker.process.pid, flush=True)\n"
        f"Wild().measure([job('{deed}')], BRIEF); sys.stdin.read()\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    parent = subprocess.Popen([sys.executable, "-c", program], text=True, **pipes)  # type: ignore[call-overload]
    worker = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.communicate()
    assert worker.wait(timeout=30) is None


def test_the_same_backend_here_and_there_gives_the_same_kind_of_measurement() -> None:
    def shape(measurement: Measurement) -> list[bool]:
        values = (measurement.latency_ms, measurement.latency_ms_p99, measurement.peak_memory_bytes, measurement.blocks)
        return [value is not None for value in values]

    there = Wild().measure([job()], QUICK)
    with in_this_process():
        here = Wild().measure([job()], QUICK)
    assert shape(there[0]) == shape(here[0])
