"""Worker processes that die, are lost, cannot start, or lose their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from nas.executors import _worker
from nas.executors._context import Context
from nas.executors._parcel import Parcel, unpacked
from nas.executors._pool import Lost
from nas.executors._processes import Processes
from nas.executors.local import Local
from tests.nas.executors.jobs import Dies, Process, Square, Unsendable, Weights
from tests.nas.experiments import written


@pytest.fixture(scope="module")
def pool(context: Context) -> Iterator[Processes]:
    with Local(workers=2, retries=1).pool(context) as pool:
        assert isinstance(pool, Processes)
        yield pool


def counted(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


def test_a_lost_worker_costs_its_job_a_second_attempt_and_nothing_else(pool: Processes, tmp_path: Path) -> None:
    jobs = [Square(1), Dies(counted(tmp_path, "once"), 1), Square(2), Square(3)]
    assert list(pool.map(jobs)) == [1, 1, 4, 9]
    assert len(set(pool.map([Process(0.5), Process(0.5)]))) == 2, "two workers again, as soon as there is work for both"


def test_a_job_whose_workers_are_always_lost_says_why(pool: Processes, tmp_path: Path) -> None:
    first, lost, last = pool.map([Square(1), Dies(counted(tmp_path, "always"), 9), Square(2)])
    assert (first, last) == (1, 4)
    assert lost == Lost("its worker was lost 2 times, last: killed by SIGKILL")
    assert len(list((tmp_path / "always").iterdir())) == 2


def test_an_idle_worker_that_is_killed_is_replaced(pool: Processes) -> None:
    numbers = list(pool.map([Process(0.2), Process(0.2)]))
    os.kill(int(str(numbers[0])), signal.SIGKILL)
    assert list(pool.map([Square(n) for n in range(4)])) == [0, 1, 4, 9]


def test_a_worker_killed_from_outside_while_it_computes(pool: Processes) -> None:
    killed: list[int] = []

    def kill(number: int, words: str) -> None:
        if not killed:
            killed.append(int(words))
            os.kill(killed[0], signal.SIGKILL)

    first, second = pool.map([Process(0.5), Process(0.5)], hear=kill)
    assert killed[0] not in (first, second)


def test_workers_that_are_done_wait_without_computing(pool: Processes) -> None:
    numbers = {int(str(number)) for number in pool.map([Process(0.3), Process(0.3)])}
    assert len(numbers) == 2
    before = [sum(psutil.Process(number).cpu_times()[:2]) for number in sorted(numbers)]
    time.sleep(0.3)
    assert [sum(psutil.Process(number).cpu_times()[:2]) for number in sorted(numbers)] == before
    pool.close()
    assert not any(psutil.pid_exists(number) for number in numbers)


def test_signals_of_the_terminal_do_not_reach_a_worker(pool: Processes) -> None:
    def interrupt(number: int, words: str) -> None:
        os.kill(int(words), signal.SIGINT)
        os.kill(int(words), signal.SIGTERM)

    (found,) = pool.map([Process(0.2)], hear=interrupt)
    assert psutil.pid_exists(int(str(found)))


def test_what_cannot_be_sent_is_refused_with_advice(pool: Processes) -> None:
    with pytest.raises(TypeError, match=r"define parts at the top of a module .* or set executor.workers to 1"):
        list(pool.map([Unsendable(threading.Lock())]))
    assert list(pool.map([Square(3)])) == [9]


def test_workers_that_cannot_start_are_an_error_with_their_words(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_worker, "_BOOT", "import sys; print('out of order'); sys.exit(3)  # {path} {handle} {parcel}")
    with Local(workers=2).pool(context) as pool, pytest.raises(RuntimeError, match="cannot start: exit code 3: out of"):
        list(pool.map([Square(1), Square(2)]))


def test_arrays_of_a_parcel_are_shared_until_they_are_written_to(context: Context) -> None:
    parcel = Parcel(context)
    first, second = (unpacked(parcel.index, parcel.handle) for _ in range(2))
    parcel.close()
    expected = Weights().run(context, str)
    assert Weights().run(first, str) == Weights().run(second, str) == expected
    next(iter(first.trainee.supernet.parameters())).data.zero_()
    assert Weights().run(first, str) != expected and Weights().run(second, str) == expected


DRIVER = """
import io, sys
from pathlib import Path
from nas.config import read
from nas.executors.local import Local
from nas.progress import LineProgress
from nas.run import Run
from tests.nas.executors.jobs import Process
run = Run(read(Path(sys.argv[1])), Path(sys.argv[1]).parent, LineProgress(io.StringIO()))
pool = Local(workers=2).pool(run.context)
list(pool.map([Process(60), Process(60)], hear=lambda number, words: print(words, flush=True)))
"""


@pytest.mark.slow
def test_no_worker_outlives_its_parent(tmp_path: Path) -> None:
    command = [sys.executable, "-c", DRIVER, str(written(tmp_path))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    workers = [psutil.Process(int(process.stdout.readline())) for _ in range(2)]
    process.kill()
    process.wait()
    gone, alive = psutil.wait_procs(workers, timeout=30)
    assert len(gone) == 2 and not alive
