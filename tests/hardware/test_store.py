"""The latency table on disk."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from hardware.blocks import Blocks
from hardware.measurement import Measurement, Window
from hardware.store import LatencyStore, StoreError

FAST, SLOW = Measurement(latency_ms=1.0), Measurement(latency_ms=2.0)


def test_what_is_put_is_there_after_reopening(tmp_path: Path) -> None:
    with LatencyStore(tmp_path / "deep" / "table.sqlite") as store:
        store.put("device", {"a": FAST, "b": Measurement(state="timeout", reason="slow")})
        store.put("device", {"a": SLOW})
        store.put("other", {"a": FAST})
    with LatencyStore(tmp_path / "deep" / "table.sqlite") as store:
        assert store.get("device") == {"a": SLOW, "b": Measurement(state="timeout", reason="slow")}
        assert store.get("unknown") == {}


def test_writes_are_full_synchronous(tmp_path: Path) -> None:
    with LatencyStore(tmp_path / "table.sqlite") as store:
        assert store._connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_every_acknowledged_row_survives_kill(tmp_path: Path) -> None:
    program = (
        "import sys; from hardware.store import LatencyStore; from hardware.measurement import Measurement\n"
        "store = LatencyStore(sys.argv[1])\n"
        "for i in range(10**6):\n"
        "    store.put('device', {str(i): Measurement(latency_ms=float(i))}); print(i, flush=True)\n"
    )
    path = tmp_path / "table.sqlite"
    writer = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    acknowledged = [int(writer.stdout.readline()) for _ in range(20)][-1]
    os.kill(writer.pid, signal.SIGKILL)
    writer.communicate()
    with LatencyStore(path) as store:
        rows = store.get("device")
        store.put("device", {"after": FAST})
    assert {str(i) for i in range(acknowledged + 1)} <= set(rows)
    assert all(measurement.latency_ms == float(name) for name, measurement in rows.items())


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "table.sqlite"
    path.write_text("not a database " * 100)
    with pytest.raises(StoreError, match=r"table\.sqlite cannot be read .*move it away"):
        LatencyStore(path)
    assert path.read_text() == "not a database " * 100


def test_damaged_pages_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "table.sqlite"
    with LatencyStore(path) as store:
        store.put("device", {str(i): Measurement(latency_ms=1.0, reason="x" * 500) for i in range(200)})
    content = bytearray(path.read_bytes())
    content[4096 : len(content) // 2] = b"\xff" * (len(content) // 2 - 4096)
    path.write_bytes(content)
    with pytest.raises(StoreError, match="cannot be read"):
        LatencyStore(path).get("device")


def test_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 7")
    with pytest.raises(StoreError, match="format 7"):
        LatencyStore(path)


def test_every_block_and_the_window_are_kept(tmp_path: Path) -> None:
    windows = [Window("2030-01-01T00:00:00+00:00", references_ms=(0.1,)), Window("2030-01-02T00:00:00+00:00")]
    blocks = [Blocks.of([(0, 1.0 + i, 1.0, 1.0), (1, 2.0, 2.0, 1.0)], runs=i + 1) for i in range(3)]
    given = {
        str(i): Measurement(latency_ms=1.0, blocks=blocks[i], window=window)
        for i, window in enumerate([windows[0], windows[0], windows[1]])
    }
    with LatencyStore(tmp_path / "table.sqlite") as store:
        store.put("device", given)
        store.put("other", {"a": FAST})
    with LatencyStore(tmp_path / "table.sqlite") as store:
        found = store.get("device")
        assert [found[str(i)].blocks for i in range(3)] == blocks
        assert [found[str(i)].window for i in range(3)] == [windows[0], windows[0], windows[1]]
        assert store.windows("device") == windows
        assert store.windows("other") == []


def _first_format(path: Path, rows: int) -> None:
    """A table as it was before blocks were kept."""
    with sqlite3.connect(path) as connection:
        connection.executescript(
            "CREATE TABLE latency (device TEXT NOT NULL, subject TEXT NOT NULL, measurement TEXT NOT NULL, "
            "PRIMARY KEY (device, subject)) WITHOUT ROWID; PRAGMA user_version = 1"
        )
        text = '{"latency_ms": 1.0, "samples": 3, "state": "ok", "reason": ""}'
        connection.executemany("INSERT INTO latency VALUES ('device', ?, ?)", [(str(i), text) for i in range(rows)])
    connection.close()


def test_a_table_of_the_first_format_is_taken_over_whole(tmp_path: Path) -> None:
    _first_format(tmp_path / "table.sqlite", rows=300)
    for _ in range(2):
        with LatencyStore(tmp_path / "table.sqlite") as store:
            assert store.get("device") == {str(i): Measurement(latency_ms=1.0, samples=3) for i in range(300)}
            assert store.get("device")["0"].blocks is None
            store.put("new", {"a": Measurement(latency_ms=1.0, blocks=Blocks(b"", 1), window=Window(""))})


def test_a_table_that_cannot_be_taken_over_stays_as_it_was(tmp_path: Path) -> None:
    _first_format(tmp_path / "table.sqlite", rows=3)
    with sqlite3.connect(tmp_path / "table.sqlite") as connection:
        connection.execute("ALTER TABLE latency ADD COLUMN blocks BLOB")
    before = (tmp_path / "table.sqlite").read_bytes()
    with pytest.raises(StoreError, match="duplicate column"):
        LatencyStore(tmp_path / "table.sqlite")
    assert (tmp_path / "table.sqlite").read_bytes() == before


def test_a_row_that_is_no_measurement_is_reported(tmp_path: Path) -> None:
    with LatencyStore(tmp_path / "table.sqlite") as store:
        with store._connection as connection:
            connection.execute("INSERT INTO latency (device, subject, measurement) VALUES ('device', 'a', '{')")
        with pytest.raises(StoreError, match="cannot be read"):
            store.get("device")


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot open"):
        LatencyStore(tmp_path / "file" / "table.sqlite")
