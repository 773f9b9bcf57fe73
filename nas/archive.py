"""Archive: every architecture that a search has evaluated, in one SQLite file; the only state of a search.

A row is written through to the disk before `add` returns, in rollback-journal mode, so that neither kill -9 nor a loss
of power loses or tears it. A second kind of archive, `Archive.memory()`, keeps the same rows for as long as it lives.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from nas import pareto
from nas.differences import differences
from nas.problem import Floats, Genes, Problem

OK = "ok"
"""The state of a trial that was evaluated; every other state is the name of a failure."""
_APPLICATION = 0x6E617361
_VERSION = 1
_TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE trials (number INTEGER PRIMARY KEY, architecture_id TEXT NOT NULL UNIQUE, genes TEXT NOT NULL UNIQUE,"
    " architecture TEXT NOT NULL, objectives TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL)",
)


class ArchiveError(RuntimeError):
    """The archive's file cannot be used; the message names it and says how to mend that."""


class ResumeRefused(RuntimeError):
    """The archive belongs to another configuration; `differences` says key by key to which."""

    def __init__(self, path: str, differences: Sequence[str]) -> None:
        self.differences = tuple(differences)
        listed = "".join(f"\n  {line}" for line in differences)
        super().__init__(f"{path} was begun with another configuration:{listed}")


@dataclass(frozen=True)
class Trial:
    """One evaluated architecture; `number` counts from 0 in the order of the search."""

    number: int
    architecture_id: str
    genes: tuple[int, ...]
    architecture: dict[str, Any]
    values: dict[str, float] = field(default_factory=dict)
    state: str = OK
    reason: str = ""


class Archive:
    """The trials of one search in order, unique by architecture. Made by `open` or `memory`, closed by `close`."""

    def __init__(self, connection: sqlite3.Connection, path: str) -> None:
        self._connection, self.path = connection, path
        with _explained(path):
            rows = connection.execute("SELECT * FROM trials ORDER BY number").fetchall()
            self._trials = [_trial(row) for row in rows]
        if [trial.number for trial in self._trials] != list(range(len(self._trials))):
            raise _unusable(path, "trials are missing from it")

    @classmethod
    def open(cls, path: str | Path, fingerprint: str | None) -> Archive:
        """The archive in a file, made if there is none; without a fingerprint any existing archive, to read.

        Raises:
            ArchiveError: the file is corrupted, foreign, locked or cannot be made, or there is none to read.
            ResumeRefused: the archive was begun with another fingerprint.
        """
        path = Path(path)
        if fingerprint is None and not path.is_file():
            raise ArchiveError(f"{path}: there is no archive; start a search first")
        with _explained(str(path)):
            connection = sqlite3.connect(path, isolation_level=None)
        try:
            with _explained(str(path)):
                _prepare(connection, path, fingerprint)
            _compare(connection, str(path), fingerprint)
            return cls(connection, str(path))
        except BaseException:
            connection.close()
            raise

    @classmethod
    def memory(cls, fingerprint: str = "{}") -> Archive:
        """An empty archive that lives in memory."""
        connection = sqlite3.connect(":memory:", isolation_level=None)
        _create(connection, fingerprint)
        return cls(connection, ":memory:")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the file."""
        self._connection.close()

    def __len__(self) -> int:
        return len(self._trials)

    @property
    def fingerprint(self) -> str:
        """The configuration that the archive was begun with."""
        return _fingerprint(self._connection)

    def add(self, trial: Trial) -> None:
        """Appends a trial; when this returns, the trial is on the disk.

        Raises:
            ValueError: its number is not the next one, its architecture is known, or it is ok with a value that is NaN.
            ArchiveError: the disk is full, or another process writes to the archive.
        """
        if trial.number != len(self._trials):
            raise ValueError(f"the next trial is {len(self._trials)}, not {trial.number}")
        if trial.state == OK and any(np.isnan(value) for value in trial.values.values()):
            raise ValueError(f"trial {trial.number} is ok but has values that are not numbers: {trial.values}")
        row = _row(trial)
        try:
            with _explained(self.path):
                self._connection.execute("INSERT INTO trials VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        except sqlite3.IntegrityError as error:
            raise ValueError(f"architecture {trial.architecture_id} is already in {self.path}") from error
        self._trials.append(_trial(row))

    @property
    def verified(self) -> int:
        """How many trials there were when costs were last verified by measurements; 0 if never."""
        found = self._connection.execute("SELECT value FROM meta WHERE key = 'verified'").fetchone()
        return int(found[0]) if found else 0

    def revise(self, trials: Sequence[Trial]) -> None:
        """Replaces the values and states of known trials, and notes that all there are now are verified; all or none.

        Raises:
            ArchiveError: the disk is full, or another process writes to the archive.
        """
        rows = [_row(trial) for trial in trials]
        with _explained(self.path), _transaction(self._connection):
            for row in rows:
                update = "UPDATE trials SET objectives = ?, state = ?, reason = ? WHERE number = ?"
                self._connection.execute(update, (*row[4:], row[0]))
            self._connection.execute("REPLACE INTO meta VALUES ('verified', ?)", (str(len(self._trials)),))
        for trial, row in zip(trials, rows, strict=True):
            self._trials[trial.number] = _trial(row)

    def trials(self) -> list[Trial]:
        """All trials in order."""
        return list(self._trials)

    def matrix(self) -> Genes:
        """The genes of all trials, [n, decisions]; [0, 0] of an empty archive."""
        if not self._trials:
            return np.zeros((0, 0), dtype=np.int64)
        return np.array([trial.genes for trial in self._trials], dtype=np.int64)

    def values(self, names: Sequence[str]) -> Floats:
        """Values [n, names] of all trials in order; NaN where a trial has none."""
        rows = [[trial.values.get(name, np.nan) for name in names] for trial in self._trials]
        return np.array(rows, dtype=np.float64).reshape(len(rows), len(names))

    def front(self, problem: Problem) -> list[Trial]:
        """The trials that are ok, within all bounds, and not dominated by another such."""
        good = self._feasible(problem)
        if not good:
            return []
        mask = pareto.front_mask(np.stack([problem.minimized(trial.values) for trial in good]))
        return [trial for trial, kept in zip(good, mask, strict=True) if kept]

    def hypervolumes(self, problem: Problem, reference: ArrayLike) -> Floats:
        """The hypervolume [n] of the front after each trial, below a reference [m] in minimized values."""
        history, front, volume = np.zeros(len(self._trials)), np.zeros((0, len(problem.objectives))), 0.0
        good = {trial.number for trial in self._feasible(problem)}
        for trial in self._trials:
            point = problem.minimized(trial.values) if trial.number in good else None
            if point is not None and not (front <= point).all(axis=1).any():
                front = np.concatenate([front[~(point <= front).all(axis=1)], point[None]])
                volume = pareto.hypervolume(front, reference)
            history[trial.number] = volume
        return history

    def _feasible(self, problem: Problem) -> list[Trial]:
        return [trial for trial in self._trials if trial.state == OK and problem.violation(trial.values) == 0]


def _prepare(connection: sqlite3.Connection, path: Path, fingerprint: str | None) -> None:
    """Makes the tables in a new file, and refuses a file that is not a sound archive."""
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.execute("PRAGMA synchronous = FULL")
    if fingerprint is not None and not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        _create(connection, fingerprint)
    if connection.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION:
        raise ArchiveError(f"{path} is not an archive of a search; choose another run name or move the file away")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != _VERSION:
        raise ArchiveError(f"{path} has format {version}, this version reads {_VERSION}; choose another run name")
    if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
        raise _unusable(path, "it is corrupted")


def _create(connection: sqlite3.Connection, fingerprint: str) -> None:
    """The tables, all or none; the loser of a race with another process finds them made."""
    with _transaction(connection):
        if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            for statement in _TABLES:
                connection.execute(statement)
            connection.execute("INSERT INTO meta VALUES ('fingerprint', ?)", (fingerprint,))
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            connection.execute(f"PRAGMA user_version = {_VERSION}")


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All that is executed within, or nothing of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


def _fingerprint(connection: sqlite3.Connection) -> str:
    found = connection.execute("SELECT value FROM meta WHERE key = 'fingerprint'").fetchone()
    return str(found[0]) if found else ""


def _compare(connection: sqlite3.Connection, path: str, fingerprint: str | None) -> None:
    """Refuses an archive that was begun with another fingerprint."""
    with _explained(path):
        begun = _fingerprint(connection)
    if fingerprint is not None and fingerprint != begun:
        found = list(differences(_parsed(begun), _parsed(fingerprint)))
        if found:
            raise ResumeRefused(path, found)


def _parsed(text: str) -> Any:
    """JSON data, or the text itself where it is none."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _row(trial: Trial) -> tuple[int, str, str, str, str, str, str]:
    genes = json.dumps([int(gene) for gene in trial.genes])
    values = json.dumps({name: float(value) for name, value in trial.values.items()})
    described = json.dumps(trial.architecture)
    return trial.number, trial.architecture_id, genes, described, values, trial.state, trial.reason


def _trial(row: Sequence[Any]) -> Trial:
    number, identity, genes, architecture, values, state, reason = row
    return Trial(
        number, identity, tuple(json.loads(genes)), json.loads(architecture), json.loads(values), state, reason
    )


def _unusable(path: str | Path, why: str) -> ArchiveError:
    return ArchiveError(f"{path}: {why}; restore it from a copy, or move it away and start the search again")


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """Turns SQLite's complaints about a file into an `ArchiveError` that says how to mend it."""
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except sqlite3.OperationalError as error:
        means = {"locked": "another search uses it: wait or stop that one", "full": "free some space and resume"}
        advice = next(
            (advice for word, advice in means.items() if word in str(error)), "check its folder's permissions"
        )
        raise ArchiveError(f"{path}: {error}; {advice}") from error
    except (sqlite3.DatabaseError, json.JSONDecodeError) as error:
        raise _unusable(path, str(error)) from error
