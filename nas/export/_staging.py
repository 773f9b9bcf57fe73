"""A folder that appears at its place whole, or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from nas.export._manifest import MANIFEST
from nas.files import sync_folder


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A new folder to fill, which takes the place of `folder` when the context ends without an error.

    What an interrupted process left behind for the same folder is removed.

    Raises:
        OSError: the place is not writable, or holds something that is not a bundle.
    """
    _require_replaceable(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(folder)
    stage = folder.parent / f".{folder.name}.{os.getpid()}.tmp"
    stage.mkdir()
    try:
        bundle = stage / "bundle"
        bundle.mkdir()
        yield bundle
        _publish(bundle, folder)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _require_replaceable(folder: Path) -> None:
    """Refuses to replace what is not ours.

    Raises:
        FileExistsError: the place holds a file, or a folder with other things.
    """
    if not folder.exists() or (folder / MANIFEST).exists():
        return
    if not folder.is_dir() or any(folder.iterdir()):
        raise FileExistsError(errno.EEXIST, "is no bundle of exported files and stays as it is", str(folder))


def _remove_abandoned(folder: Path) -> None:
    """Removes the stages of processes that are no more."""
    for stage in folder.parent.glob(f".{folder.name}.*.tmp"):
        number = stage.name.removesuffix(".tmp").rpartition(".")[2]
        if number.isdigit() and (int(number) == os.getpid() or not psutil.pid_exists(int(number))):
            shutil.rmtree(stage, ignore_errors=True)


def _publish(bundle: Path, folder: Path) -> None:
    """Puts the filled folder at its place; an older one goes with the stage."""
    older = bundle.with_name("older")
    if folder.exists():
        folder.rename(older)
    try:
        bundle.rename(folder)
    except OSError:
        if older.exists():
            older.rename(folder)
        raise
    sync_folder(folder.parent)
