"""Peak memory, and the limit that protects the machine."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hardware import memory
from hardware.memory import free_bytes, peak_of

MIB = 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak")
def test_the_peak_is_what_an_action_takes_also_if_it_gives_it_back() -> None:
    for _ in range(2):
        result, host, device = peak_of(lambda: len(b"\1" * (64 * MIB)))
        assert result == 64 * MIB
        assert host is not None
        assert 63 * MIB <= host <= 80 * MIB
        assert device is None
    small = peak_of(lambda: None)[1]
    assert small is not None
    assert small < 4 * MIB


def test_a_system_that_does_not_tell_gives_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_CLEAR_REFS", Path("/nonexistent/clear_refs"))
    assert peak_of(lambda: 3) == (3, None, None)


def test_free_memory_is_what_the_control_group_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    everything = free_bytes()
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert free_bytes() == pytest.approx(everything, rel=0.2)
    (tmp_path / "memory.max").write_text("5000\n")
    assert free_bytes() == 4000
    (tmp_path / "memory.current").write_text("6000\n")
    assert free_bytes() == 0
