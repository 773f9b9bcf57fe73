from __future__ import annotations

import json
import math
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nas import pareto
from nas.archive import Archive, ArchiveError, ResumeRefused, Trial
from tests.nas.tabulated import judge, problem

FINGERPRINT = json.dumps({"seed": 1, "strategy": {"kind": "nsga2", "population": 20}, "list": [1, 2]})


def trial(number: int, *values: float, state: str = "ok") -> Trial:
    named = dict(zip(("error", "latency_ms"), values, strict=False))
    return Trial(number, f"id{number}", (number, 0), {"row": [number]}, named, state, "" if state == "ok" else "why")


def filled(archive: Archive, n: int = 5) -> Archive:
    for number in range(n):
        archive.add(trial(number, 1.0 / (number + 1), float(number)))
    return archive


def test_what_was_added_is_read_again(tmp_path: Path) -> None:
    added = [trial(0, 0.1, 3.0), trial(1, state="out_of_memory"), trial(2, math.inf, 1.0)]
    with Archive.open(tmp_path / "a.sqlite", FINGERPRINT) as archive:
        for one in added:
            archive.add(one)
    with Archive.open(tmp_path / "a.sqlite", FINGERPRINT) as archive:
        assert archive.trials() == added
        assert archive.fingerprint == FINGERPRINT
    assert [path.name for path in tmp_path.iterdir()] == ["a.sqlite"]


def test_numpy_genes_become_integers() -> None:
    archive = Archive.memory()
    archive.add(Trial(0, "a", tuple(np.array([3, 1])), {}, {"error": np.float64(0.5)}))  # type: ignore[arg-type]
    assert archive.trials()[0].genes == (3, 1)
    assert type(archive.trials()[0].genes[0]) is int


def test_matrix_and_values_follow_the_order() -> None:
    archive = Archive.memory()
    assert archive.matrix().shape == (0, 0)
    assert archive.values(["error"]).shape == (0, 1)
    archive.add(trial(0, 0.5, 2.0))
    archive.add(trial(1, state="failed"))
    assert archive.matrix().tolist() == [[0, 0], [1, 0]]
    np.testing.assert_array_equal(archive.values(["latency_ms", "error"]), [[2.0, 0.5], [np.nan, np.nan]])


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (trial(2), "next trial is 1"),
        (Trial(1, "id0", (9, 9), {}), "already"),
        (Trial(1, "new", (0, 0), {}), "already"),
        (trial(1, math.nan), "not numbers"),
    ],
)
def test_a_trial_out_of_order_or_known_or_nan_is_refused(second: Trial, message: str) -> None:
    archive = Archive.memory()
    archive.add(trial(0, 0.1))
    with pytest.raises(ValueError, match=message):
        archive.add(second)
    assert len(archive) == 1


def test_revised_trials_are_read_again_and_counted_as_verified(tmp_path: Path) -> None:
    with Archive.open(tmp_path / "a.sqlite", FINGERPRINT) as archive:
        filled(archive, 3)
        assert archive.verified == 0
        archive.revise([trial(1, 0.5, 7.0), trial(2, state="timeout")])
        expected = [trial(0, 1.0, 0.0), trial(1, 0.5, 7.0), trial(2, state="timeout")]
        assert (archive.trials(), archive.verified) == (expected, 3)
    with Archive.open(tmp_path / "a.sqlite", FINGERPRINT) as archive:
        assert (archive.trials(), archive.verified) == (expected, 3)
        archive.add(trial(3, 0.1, 1.0))
        assert archive.verified == 3


def test_a_revision_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    with Archive.open(tmp_path / "a.sqlite", FINGERPRINT) as archive:
        before = filled(archive, 2).trials()
        broken = Trial(1, "id1", (1, 0), {}, {"error": 0.0}, None, "")  # type: ignore[arg-type]
        with pytest.raises(sqlite3.IntegrityError):
            archive.revise([trial(0, 9.0, 9.0), broken])
        assert (archive.trials(), archive.verified) == (before, 0)
    with Archive.open(tmp_path / "a.sqlite", FINGERPRINT) as archive:
        assert archive.trials() == before


def test_the_front_is_feasible_and_not_dominated() -> None:
    bounded, archive = problem((3, 3), latency_ms=3.0), Archive.memory()
    for number, pair in enumerate([(0.5, 2.0), (0.1, 9.0), (0.6, 2.0), (0.7, 1.0), (0.5, 2.0)]):
        archive.add(trial(number, *pair))
    archive.add(trial(5, state="failed"))
    assert [one.number for one in archive.front(bounded)] == [0, 3, 4]
    assert Archive.memory().front(bounded) == []


def test_hypervolumes_equal_those_of_each_prefix() -> None:
    hard, rng, archive = problem(latency_ms=14.0), np.random.default_rng(0), Archive.memory()
    rows = np.unique(hard.space.sample(rng, 60), axis=0)
    for row in rng.permutation(rows):
        archive.add(judge(hard, len(archive), row))
    values = archive.values(["error", "latency_ms"])
    good = values[:, 1] <= 14
    expected = [pareto.hypervolume(values[:n][good[:n]], [2, 25]) for n in range(1, len(values) + 1)]
    np.testing.assert_allclose(archive.hypervolumes(hard, [2, 25]), expected, rtol=1e-12)


def test_another_configuration_is_refused_key_by_key(tmp_path: Path) -> None:
    Archive.open(tmp_path / "a.sqlite", FINGERPRINT).close()
    changed = json.dumps({"seed": 2, "strategy": {"kind": "nsga2", "population": 20, "rate": 0.5}, "list": [1, 3]})
    with pytest.raises(ResumeRefused) as caught:
        Archive.open(tmp_path / "a.sqlite", changed)
    assert caught.value.differences == (
        "seed: 1 before, 2 now",
        "strategy.rate: absent before, 0.5 now",
        "list.1: 2 before, 3 now",
    )
    assert "a.sqlite" in str(caught.value)


def test_a_number_is_not_a_truth_and_order_of_keys_is_nothing(tmp_path: Path) -> None:
    Archive.open(tmp_path / "a.sqlite", '{"a": 1, "b": 2}').close()
    Archive.open(tmp_path / "a.sqlite", '{"b": 2, "a": 1}').close()
    with pytest.raises(ResumeRefused, match="a: 1 before, true now"):
        Archive.open(tmp_path / "a.sqlite", '{"a": true, "b": 2}')


def test_without_a_fingerprint_an_existing_archive_opens_and_none_is_made(tmp_path: Path) -> None:
    filled(Archive.open(tmp_path / "a.sqlite", FINGERPRINT)).close()
    assert len(Archive.open(tmp_path / "a.sqlite", None)) == 5
    with pytest.raises(ArchiveError, match="no archive"):
        Archive.open(tmp_path / "b.sqlite", None)
    assert not (tmp_path / "b.sqlite").exists()


def test_garbage_and_foreign_files_are_refused_with_their_path(tmp_path: Path) -> None:
    (tmp_path / "garbage").write_bytes(b"no database at all" * 100)
    with pytest.raises(ArchiveError, match=r"garbage: file is not a database; restore it"):
        Archive.open(tmp_path / "garbage", FINGERPRINT)
    with sqlite3.connect(tmp_path / "foreign") as foreign:
        foreign.execute("CREATE TABLE trials (number INTEGER)")
    foreign.close()
    with pytest.raises(ArchiveError, match="foreign is not an archive of a search"):
        Archive.open(tmp_path / "foreign", FINGERPRINT)
    with pytest.raises(ArchiveError, match=r"unable to open.*permissions"):
        Archive.open(tmp_path / "missing" / "a.sqlite", FINGERPRINT)


@pytest.mark.parametrize("damage", ["middle", "end"])
def test_a_damaged_archive_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.sqlite"
    filled(Archive.open(path, FINGERPRINT), 200).close()
    content = bytearray(path.read_bytes())
    if damage == "middle":
        content[5000 : len(content) - 100] = b"\xff" * (len(content) - 5100)
    path.write_bytes(content if damage == "middle" else content[: len(content) // 2])
    with pytest.raises(ArchiveError, match=r"a\.sqlite: .*restore it from a copy"):
        Archive.open(path, FINGERPRINT)


def test_missing_trials_and_newer_formats_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    filled(Archive.open(path, FINGERPRINT)).close()
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM trials WHERE number = 2")
    with pytest.raises(ArchiveError, match="trials are missing"):
        Archive.open(path, FINGERPRINT)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ArchiveError, match="format 99"):
        Archive.open(path, FINGERPRINT)


def test_writing_is_synchronous_and_without_a_write_ahead_log(tmp_path: Path) -> None:
    archive = Archive.open(tmp_path / "a.sqlite", FINGERPRINT)
    assert archive._connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert archive._connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_full_disk_is_an_archive_error_and_the_trial_can_be_added_later(tmp_path: Path) -> None:
    archive = Archive.open(tmp_path / "a.sqlite", FINGERPRINT)
    pages = archive._connection.execute("PRAGMA page_count").fetchone()[0]
    archive._connection.execute(f"PRAGMA max_page_count = {pages}")
    large = Trial(0, "id0", (0,), {"text": "x" * 20_000}, {"error": 0.5})
    with pytest.raises(ArchiveError, match="full; free some space"):
        archive.add(large)
    assert len(archive) == 0
    archive._connection.execute("PRAGMA max_page_count = 100000")
    archive.add(large)
    assert archive.trials() == [large]


WRITER = """
import sys
from nas.archive import Archive, Trial
archive = Archive.open(sys.argv[1], "{}")
print(f"begun {len(archive)}", flush=True)
while True:
    number = len(archive)
    archive.add(Trial(number, f"id{number}", (number,), {"text": "x" * 3000}, {"error": 1 / (number + 1)}))
    print(number, flush=True)
"""


def test_kill_9_loses_no_acknowledged_trial(tmp_path: Path) -> None:
    path, acknowledged = tmp_path / "a.sqlite", 0
    for attempt in range(8):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        assert int(writer.stdout.readline().split()[1]) >= acknowledged
        for _ in range(3 + 2 * attempt):
            acknowledged = int(writer.stdout.readline()) + 1
        writer.send_signal(signal.SIGKILL)
        rest = [line for line in writer.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        acknowledged = int(rest[-1]) + 1 if rest else acknowledged
        writer.wait()
        writer.stdout.close()
        with Archive.open(path, "{}") as archive:
            assert len(archive) >= acknowledged
            assert [one.genes for one in archive.trials()] == [(number,) for number in range(len(archive))]
