"""Where runs and measurements are kept."""

from __future__ import annotations

import os
from pathlib import Path


class RunFolderError(Exception):
    """A run folder that cannot be made or found."""


def latency_table() -> Path:
    """The file that keeps this user's measurements across runs: `$NAS_CACHE`, else the user's cache folder."""
    cache = os.environ.get("NAS_CACHE") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "nas"
    return Path(cache) / "latency.sqlite"


def new_run(runs: Path, stem: str, name: str | None) -> Path:
    """The folder of a new run: `runs/NAME`, or `runs/STEM-COUNTER` without a name.

    Raises:
        RunFolderError: it exists already, or cannot be written.
    """
    folder = runs / name if name else _counted(runs, stem)
    try:
        folder.mkdir(parents=True)
    except FileExistsError as error:
        raise RunFolderError(f"{folder}: exists already; continue it with --resume, or take another --name") from error
    except OSError as error:
        raise RunFolderError(f"{folder}: cannot be made: {error.strerror}; choose another place with --runs") from error
    return folder


def latest_run(runs: Path, stem: str, name: str | None) -> Path:
    """The folder of a run to resume: `runs/NAME`, or the latest of the configuration's without a name.

    Raises:
        RunFolderError: there is none.
    """
    folder = runs / name if name else _counted(runs, stem, newest=True)
    if not (folder / "resolved.yaml").exists():
        raise RunFolderError(f"{folder}: there is no run to resume; start one without --resume")
    return folder


def _counted(runs: Path, stem: str, newest: bool = False) -> Path:
    """`runs/STEM-N` with the next free, or the newest, N."""
    endings = [path.name.removeprefix(f"{stem}-") for path in runs.glob(f"{stem}-*")]
    last = max((int(ending) for ending in endings if ending.isdigit()), default=0)
    return runs / f"{stem}-{last if newest else last + 1}"
