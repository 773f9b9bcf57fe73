"""Bundle: the folder that a user gets for one trained architecture."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hardware.device import Device
from hardware.measurement import MeasurementError
from hardware.timing import FINAL, TimingSettings
from nas.export._card import card
from nas.export._latency import deployed_file, integer_gain
from nas.export._manifest import faults, write_manifest
from nas.export._role import Deployable, Format
from nas.export._staging import staged
from nas.export._verification import Verification, verify
from nas.files import write_atomic
from nas.versions import versions
from searchspaces.cost import architecture_cost
from searchspaces.registry import kinds, resolve

CONFIG, MEASUREMENTS, CARD = "config.json", "measurements.json", "README.md"
_LATENCY = ("latency_ms", "latency_ms_p10", "latency_ms_p90", "noise", "samples", "disturbed")
_MEASURED = (*_LATENCY, "latency_state", "latency_reason", "integer_gain", "device")


def write_bundle(
    model: Deployable, folder: Path, formats: Sequence[str] | None = None, settings: TimingSettings = FINAL
) -> dict[str, Any]:
    """Writes, verifies and measures the files of a trained architecture; returns what `measurements.json` holds.

    The folder appears whole, its manifest inside, or not at all; an older bundle at its place is replaced. A format
    that refuses the network is left out, with its reason under `left_out`.

    Args:
        model: what to write.
        folder: the bundle's place; folders above it are made.
        formats: kinds, all of them unless given.
        settings: how long latencies are measured.

    Raises:
        ExportError: a file does not do what the network does.
        UnknownKindError: there is no such format.
        OSError: the place is not writable, or holds something that is not a bundle.
    """
    chosen = _chosen(formats)
    with staged(folder) as bundle:
        _fill(model, chosen, bundle, lambda words: None)
        return _complete(model, chosen, bundle, settings)


def write_draft(model: Deployable, folder: Path, tell: Callable[[str], None], formats: Sequence[str] = ()) -> None:
    """A bundle whose files are written and verified, but not yet measured; whole or not at all, as a bundle is.

    Args:
        model: what to write.
        folder: the draft's place.
        tell: is told what is going on.
        formats: kinds, all of them unless given.

    Raises:
        ExportError: a file does not do what the network does.
        UnknownKindError: there is no such format.
        OSError: the place is not writable, or holds something that is not a bundle.
    """
    with staged(folder) as bundle:
        _fill(model, _chosen(formats), bundle, tell)
        write_manifest(bundle)


def finish_draft(model: Deployable, draft: Path, folder: Path, settings: TimingSettings = FINAL) -> dict[str, Any]:
    """Measures a draft, which then becomes the bundle; returns what `write_bundle` returns.

    Args:
        model: what was written; its weights are not needed any more.
        draft: the draft's place, which is empty afterwards.
        folder: the bundle's place, on the same file system.
        settings: how long latencies are measured.

    Raises:
        OSError: the place is not writable, or holds something that is not a bundle.
    """
    measurements = _complete(model, _chosen(()), draft, settings)
    with staged(folder) as bundle:
        bundle.rmdir()
        draft.rename(bundle)
    return measurements


def _chosen(formats: Sequence[str] | None) -> list[Format]:
    """The formats of these kinds, or all."""
    return [resolve(Format, kind)() for kind in formats or kinds(Format)]


def _fill(model: Deployable, chosen: Sequence[Format], bundle: Path, tell: Callable[[str], None]) -> None:
    """Writes and verifies the files, and what is known of them before they are measured."""
    written, left_out = _write_files(model, chosen, bundle, tell)
    tell("verification")
    verification = verify(model, written, bundle)
    for name in verification.refused:
        (bundle / name).unlink()
    left_out |= verification.refused
    written = [item for item in written if item.file not in left_out]
    write_atomic(bundle / CONFIG, _json(_config(model, written, left_out, bundle)))
    write_atomic(bundle / MEASUREMENTS, _json(_verified(model, verification, left_out, bundle)))


def _complete(model: Deployable, chosen: Sequence[Format], bundle: Path, settings: TimingSettings) -> dict[str, Any]:
    """Measures the files of a filled bundle, and writes its card and its manifest; returns the measurements."""
    measured = _measured(model, bundle, settings)
    write_atomic(bundle / MEASUREMENTS, _json({**_read(bundle), **measured}))
    measurements = _read(bundle)
    config = json.loads((bundle / CONFIG).read_text(encoding="utf-8"))
    written = [item for item in chosen if (bundle / item.file).exists()]
    write_atomic(bundle / CARD, card(model, written, config, measurements))
    write_manifest(bundle)
    return measurements


def read_bundle(folder: Path) -> dict[str, Any] | None:
    """What `write_bundle` returned for a folder; None if it is not there, not whole, or changed since."""
    return None if faults(folder) else _read(folder)


def _read(folder: Path) -> dict[str, Any]:
    """The measurements of a bundle."""
    found: dict[str, Any] = json.loads((folder / MEASUREMENTS).read_text(encoding="utf-8"))
    return found


def _write_files(
    model: Deployable, formats: Sequence[Format], bundle: Path, tell: Callable[[str], None]
) -> tuple[list[Format], dict[str, MeasurementError]]:
    """The formats that apply and were written, and the reasons of those that refused, by file."""
    written, left_out = [], {}
    for item in formats:
        tell(item.file)
        try:
            if item.write(model, bundle):
                written.append(item)
        except MeasurementError as error:
            left_out[item.file] = error
    return written, left_out


def _config(
    model: Deployable, written: Sequence[Format], left_out: dict[str, MeasurementError], bundle: Path
) -> dict[str, Any]:
    """What the network is and takes, without any measured number."""
    standard = model.task.splits.standardization
    return {
        "id": model.architecture.id,
        "architecture": model.architecture.describe(),
        "input": {
            "shape": list(model.architecture.input_shape),
            "axes": "batch, channels, height, width",
            "dtype": "float32",
            "standardization": "(pixel * scale - mean) / std, per channel",
            "scale": standard.scale,
            "mean": list(standard.mean),
            "std": list(standard.std),
        },
        "classes": list(model.task.splits.class_names),
        "batch_sizes": {item.file: item.batch_size(bundle) or "any" for item in written if item.run},
        "backend": model.backend.describe(),
        "left_out": _reasons(left_out),
        "versions": versions(),
    }


def _verified(
    model: Deployable, verification: Verification, left_out: dict[str, MeasurementError], bundle: Path
) -> dict[str, Any]:
    """What the search believed, and what was found out on the files themselves; what is measured later is None."""
    files = verification.files
    deployed = deployed_file(model.backend, list(files))
    cost = architecture_cost(model.architecture)
    return {
        "id": model.architecture.id,
        "architecture": model.architecture.describe(),
        "values": model.values,
        "test_images": len(model.task.splits.test),
        "accuracy_float32": verification.network.accuracy,
        "accuracy_deployed": files[deployed].accuracy if deployed else None,
        "deployed": deployed,
        "accuracy": {name: found.accuracy for name, found in files.items()},
        "differences": {name: {"absolute": f.absolute, "relative": f.relative} for name, f in files.items()},
        **dict.fromkeys(_MEASURED),
        "backend": model.backend.describe(),
        "parameters": cost.parameters,
        "macs": cost.macs,
        "bytes": {path.name: path.stat().st_size for path in sorted(bundle.glob("model.*"))},
        "left_out": _reasons(left_out),
    }


def _measured(model: Deployable, bundle: Path, settings: TimingSettings) -> dict[str, Any]:
    """The measurement of the exported files on the backend, on this machine."""
    found = asdict(model.backend.measure_export(bundle, settings))
    return {
        **{name: found[name] for name in _LATENCY},
        "latency_state": found["state"],
        "latency_reason": found["reason"],
        "integer_gain": integer_gain(model.backend, bundle, settings),
        "device": Device.here().describe(),
    }


def _reasons(left_out: dict[str, MeasurementError]) -> dict[str, dict[str, str]]:
    return {name: {"state": error.state, "reason": error.reason} for name, error in left_out.items()}


def _json(data: dict[str, Any]) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
