"""The manifest of a bundle: written last, so that a bundle with one is whole."""

from __future__ import annotations

import json
from pathlib import Path

from nas.files import sha256, write_atomic

MANIFEST = "MANIFEST.json"


def write_manifest(folder: Path) -> None:
    """Writes name, size and SHA-256 of each file of a folder.

    Raises:
        OSError: the folder cannot be written.
    """
    files = {path.name: _entry(path) for path in sorted(folder.iterdir()) if path.name != MANIFEST}
    write_atomic(folder / MANIFEST, json.dumps({"files": files}, indent=2) + "\n")


def faults(folder: Path) -> list[str]:
    """What is wrong with a bundle, one line each; nothing if every file is as its manifest says."""
    path = folder / MANIFEST
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"{path}: no manifest can be read ({type(error).__name__}: {error})"]
    found = [f"{folder / name}: is missing" for name in listed if not (folder / name).is_file()]
    present = [name for name in listed if (folder / name).is_file()]
    return found + [f"{folder / name}: has changed" for name in present if _entry(folder / name) != listed[name]]


def _entry(path: Path) -> dict[str, object]:
    return {"bytes": path.stat().st_size, "sha256": sha256(path)}
