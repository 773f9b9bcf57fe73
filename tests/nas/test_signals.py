from __future__ import annotations

import os
import signal
import threading

import pytest

from nas.signals import InterruptedRun, Interruption


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_asks_and_the_second_stops(number: signal.Signals, code: int) -> None:
    said: list[str] = []
    with pytest.raises(InterruptedRun) as caught, Interruption(said.append) as interruption:
        assert not interruption.requested
        interruption.check()
        signal.raise_signal(number)
        assert interruption.requested
        assert interruption.exit_code == code
        assert said == ["finishing the current step, press again to stop at once"]
        signal.raise_signal(number)
        pytest.fail("the second signal must raise")
    assert caught.value.exit_code == code


def test_check_raises_once_asked() -> None:
    with Interruption(lambda message: None) as interruption:
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(InterruptedRun, match="SIGTERM"):
            interruption.check()


def test_the_earlier_handlers_come_back() -> None:
    earlier = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(ZeroDivisionError), Interruption():
        assert signal.getsignal(signal.SIGINT) != earlier[0]
        raise ZeroDivisionError
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == earlier


def test_no_signal_means_exit_code_zero() -> None:
    with Interruption() as interruption:
        assert interruption.exit_code == 0


def test_other_threads_may_enter_it_without_effect() -> None:
    seen: list[bool] = []

    def enter() -> None:
        with Interruption() as interruption:
            seen.append(interruption.requested)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [False]


def test_the_announcement_goes_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    with Interruption():
        os.kill(os.getpid(), signal.SIGTERM)
    assert capfd.readouterr().err == "\nfinishing the current step, press again to stop at once\n"
