"""All evaluations as CSV and JSON, for other tools."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nas.archive import Archive, Trial
from nas.files import write_atomic


def write_tables(folder: Path) -> tuple[Path, Path]:
    """Writes `archive.csv` (values) and `archive.json` (values and architectures) of a run; returns their paths.

    Raises:
        ArchiveError: there is no archive, or it cannot be read.
    """
    with Archive.open(folder / "archive.sqlite", None) as archive:
        trials = archive.trials()
    csv_path, json_path = folder / "archive.csv", folder / "archive.json"
    write_atomic(csv_path, as_csv(trials))
    write_atomic(json_path, json.dumps([as_data(trial) for trial in trials], indent=1))
    return csv_path, json_path


def as_csv(trials: Sequence[Trial]) -> str:
    """One line for each trial: number, architecture, state, reason, and every value by name."""
    names = list(dict.fromkeys(name for trial in trials for name in trial.values))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["number", "architecture_id", "state", "reason", *names])
    for trial in trials:
        values = [trial.values.get(name, "") for name in names]
        writer.writerow([trial.number, trial.architecture_id, trial.state, trial.reason, *values])
    return text.getvalue()


def as_data(trial: Trial) -> dict[str, Any]:
    """A trial as plain JSON data; null stands for what JSON has no number for."""
    return {
        "number": trial.number,
        "id": trial.architecture_id,
        "state": trial.state,
        "reason": trial.reason,
        "values": {name: value if math.isfinite(value) else None for name, value in trial.values.items()},
        "architecture": trial.architecture,
    }
