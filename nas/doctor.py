"""What this machine is, which backends work on it, and how to get the others."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from hardware.backends._role import Backend, Workload
from hardware.device import Device
from hardware.timing import TimingSettings
from nas import folders
from searchspaces.architecture import Architecture
from searchspaces.blocks.classifier import Classifier
from searchspaces.registry import kinds, resolve

_QUICK = TimingSettings(warmup_ms=5.0, visits=2, visit_ms=5.0)


def examine() -> dict[str, Any]:
    """The device, each backend with what it does to a tiny network, and where measurements are kept."""
    backends = {kind: _try(kind) for kind in kinds(Backend)}
    return {"device": asdict(Device.here()), "backends": backends, "latency_table": str(folders.latency_table())}


def lines(found: dict[str, Any]) -> list[str]:
    """The findings for people."""
    device = [f"{name:<20} {_shown(value)}" for name, value in found["device"].items() if value not in ("", ())]
    backends = [f"{kind:<20} {_verdict(state)}" for kind, state in found["backends"].items()]
    return [
        "device",
        *_indented(device),
        "backends",
        *_indented(backends),
        f"latency table        {found['latency_table']}",
    ]


def _try(kind: str) -> dict[str, Any]:
    """Whether a backend can be imported and runs a tiny network."""
    try:
        backend = resolve(Backend, kind)()
    except ImportError as error:
        return {"works": False, "reason": str(error), "mend": f"pip install {error.name or kind}"}
    network = Architecture((4, 2, 2), (Classifier(classes=2),))
    measurement = backend.measure([Workload(network)], _QUICK)[0]
    versions = {name: _version(name) for name in backend.runtimes}
    return {"works": measurement.ok, "reason": measurement.reason, "versions": versions}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _verdict(state: dict[str, Any]) -> str:
    """One line on one backend."""
    if state["works"]:
        return "works" + "".join(f", {name} {number}" for name, number in state["versions"].items())
    return f"does not work: {state['reason']}" + (f"; {state['mend']}" if "mend" in state else "")


def _shown(value: Any) -> str:
    """Nested values on one line."""
    if isinstance(value, list | tuple):
        return ", ".join(" ".join(item) if isinstance(item, list | tuple) else str(item) for item in value)
    return str(value)


def _indented(rows: list[str]) -> list[str]:
    return [f"  {row}" for row in rows]
