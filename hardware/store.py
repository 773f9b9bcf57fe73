"""The latency table: measurements in SQLite, kept across runs and kills."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from hardware.measurement import Measurement

_FORMAT = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS latency (
    device TEXT NOT NULL,
    subject TEXT NOT NULL,
    measurement TEXT NOT NULL,
    PRIMARY KEY (device, subject)
) WITHOUT ROWID
"""


class StoreError(Exception):
    """The file is not a latency table, is damaged, or cannot be written."""


class LatencyStore:
    """Measurements by device key and subject. Every `put` is on disk when it returns.

    Rollback journal with full synchronous writes: a killed process loses at most the `put` under way.
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
        """All measurements of a device, by subject.

        Raises:
            StoreError: the table is damaged.
        """
        query = "SELECT subject, measurement FROM latency WHERE device = ?"
        try:
            return {
                subject: Measurement.from_json(text) for subject, text in self._connection.execute(query, (device,))
            }
        except (sqlite3.Error, ValueError) as error:
            raise self._damaged(error) from error

    def put(self, device: str, measurements: Mapping[str, Measurement]) -> None:
        """Keeps measurements by subject in one transaction, in place of earlier ones.

        Raises:
            StoreError: the file cannot be written.
        """
        rows = [(device, subject, measurement.to_json()) for subject, measurement in measurements.items()]
        try:
            with self._connection:
                self._connection.executemany("INSERT OR REPLACE INTO latency VALUES (?, ?, ?)", rows)
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
        if version not in (0, _FORMAT):
            raise sqlite3.DatabaseError(f"format {version}, this program reads format {_FORMAT}")
        with self._connection:
            self._connection.execute(_SCHEMA)
            self._connection.execute(f"PRAGMA user_version = {_FORMAT}")
        self._connection.execute("SELECT device, subject, measurement FROM latency LIMIT 1").fetchone()

    def _damaged(self, error: Exception) -> StoreError:
        """The error for a file that cannot be read."""
        return StoreError(f"the latency table {self.path} cannot be read ({error}); move it away to measure anew")
