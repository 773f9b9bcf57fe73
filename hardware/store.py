"""The latency table: measurements in SQLite, kept across runs and kills."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from hardware.blocks import Blocks
from hardware.measurement import Measurement, Window

_FORMAT = 2
_TABLES = """
CREATE TABLE IF NOT EXISTS latency (
    device TEXT NOT NULL,
    subject TEXT NOT NULL,
    measurement TEXT NOT NULL,
    PRIMARY KEY (device, subject)
) WITHOUT ROWID;
"""
_SINCE_2 = """
CREATE TABLE window (
    id INTEGER PRIMARY KEY,
    device TEXT NOT NULL,
    record TEXT NOT NULL
);
ALTER TABLE latency ADD COLUMN window INTEGER REFERENCES window (id);
ALTER TABLE latency ADD COLUMN blocks BLOB;
ALTER TABLE latency ADD COLUMN runs INTEGER;
"""


class StoreError(Exception):
    """The file is not a latency table, is damaged, or cannot be written."""


class LatencyStore:
    """Measurements by device key and subject. Every `put` is on disk when it returns.

    Rollback journal with full synchronous writes: a killed process loses at most the `put` under way. Format 2 keeps
    every block (`latency.blocks`, laid out as `Blocks.data` says, of `latency.runs` runs each) and the window of each
    measurement (`window.record`, JSON); rows of format 1 stay as they are, without them.
    """

    def __init__(self, path: Path | str) -> None:
        """Opens the table, making it and its folder where there is none.

        Raises:
            StoreError: the file is something else or damaged; nothing is changed in it.
        """
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self.path, timeout=30)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"cannot open the latency table {self.path}: {error}") from error
        try:
            self._prepare()
        except sqlite3.Error as error:
            self.close()
            raise self._damaged(error) from error

    def get(self, device: str) -> dict[str, Measurement]:
        """All measurements of a device, by subject, with their blocks and windows.

        Raises:
            StoreError: the table is damaged.
        """
        query = "SELECT subject, measurement, window, blocks, runs FROM latency WHERE device = ?"
        try:
            windows = self._windows(device)
            return {
                subject: Measurement.from_json(
                    text, None if blocks is None else Blocks(blocks, runs), windows.get(window)
                )
                for subject, text, window, blocks, runs in self._connection.execute(query, (device,))
            }
        except (sqlite3.Error, ValueError) as error:
            raise self._damaged(error) from error

    def windows(self, device: str) -> list[Window]:
        """The windows in which a device's measurements were made, in the order in which they were kept.

        Raises:
            StoreError: the table is damaged.
        """
        try:
            return list(self._windows(device).values())
        except (sqlite3.Error, ValueError) as error:
            raise self._damaged(error) from error

    def put(self, device: str, measurements: Mapping[str, Measurement]) -> None:
        """Keeps measurements by subject in one transaction, in place of earlier ones.

        Raises:
            StoreError: the file cannot be written.
        """
        try:
            with self._connection:
                numbers = self._put_windows(device, measurements)
                rows = [
                    (device, subject, one.to_json(), numbers.get(id(one.window)), *_blob(one.blocks))
                    for subject, one in measurements.items()
                ]
                self._connection.executemany("INSERT OR REPLACE INTO latency VALUES (?, ?, ?, ?, ?, ?)", rows)
        except sqlite3.Error as error:
            raise StoreError(f"cannot write the latency table {self.path}: {error}") from error

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()

    def __enter__(self) -> LatencyStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _prepare(self) -> None:
        """Checks that the file is sound and of this format, and makes the table in a new one."""
        self._connection.execute("PRAGMA synchronous = FULL")
        verdict = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in range(_FORMAT + 1):
            raise sqlite3.DatabaseError(f"format {version}, this program reads format {_FORMAT}")
        if version < _FORMAT:
            self._upgrade()
        self._connection.execute("SELECT device, subject, measurement, window, blocks, runs FROM latency LIMIT 1")

    def _upgrade(self) -> None:
        """Makes the tables of a new file, or adds to those of format 1 what they lack: all of it, or nothing."""
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            if self._connection.execute("PRAGMA user_version").fetchone()[0] < _FORMAT:
                for statement in f"{_TABLES}{_SINCE_2}".split(";"):
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version = {_FORMAT}")

    def _windows(self, device: str) -> dict[int, Window]:
        """The windows of a device by their numbers."""
        query = "SELECT id, record FROM window WHERE device = ? ORDER BY id"
        return {number: Window.from_json(text) for number, text in self._connection.execute(query, (device,))}

    def _put_windows(self, device: str, measurements: Mapping[str, Measurement]) -> dict[int, int | None]:
        """Keeps each distinct window once; their numbers by the identity of the object."""
        distinct = {id(one.window): one.window for one in measurements.values() if one.window is not None}
        query = "INSERT INTO window (device, record) VALUES (?, ?)"
        return {
            key: self._connection.execute(query, (device, window.to_json())).lastrowid
            for key, window in distinct.items()
        }

    def _damaged(self, error: Exception) -> StoreError:
        """The error for a file that cannot be read."""
        return StoreError(f"the latency table {self.path} cannot be read ({error}); move it away to measure anew")


def _blob(blocks: Blocks | None) -> tuple[bytes | None, int | None]:
    """The columns for blocks."""
    return (None, None) if blocks is None else (blocks.data, blocks.runs)
