"""What this machine is and lets us read, which backends work on it, and how to get the others."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from hardware.backends._role import Backend, UnavailableError, Workload
from hardware.conditions import Watch
from hardware.device import Device
from hardware.energy import Meter, gpu_meter, processor_meter
from hardware.timing import TimingSettings
from nas import folders
from nas.executors._role import Executor
from searchspaces.architecture import Architecture
from searchspaces.blocks.classifier import Classifier
from searchspaces.registry import kinds, resolve

_QUICK = TimingSettings(warmup_ms=5.0, visits=2, visit_ms=5.0)
_UNREADABLE = "not readable"


def examine() -> dict[str, Any]:
    """The device, each backend on a tiny network, executors, readings, and where measurements are kept."""
    return {
        "device": asdict(Device.here()),
        "backends": {name: _try(backend) for name, backend in _candidates().items()},
        "executors": {kind: _found(resolve(Executor, kind)()) for kind in kinds(Executor)},
        "readings": _readings(),
        "latency_table": str(folders.latency_table()),
    }


def lines(found: dict[str, Any]) -> list[str]:
    """The findings for people."""
    device = [f"{name:<20} {_shown(value)}" for name, value in found["device"].items() if value not in ("", ())]
    backends = [f"{name:<20} {_verdict(state)}" for name, state in found["backends"].items()]
    executors = [f"{name:<20} {_verdict(state)}" for name, state in found["executors"].items()]
    readings = [f"{name:<20} {value}" for name, value in found["readings"].items()]
    return [
        "device",
        *_indented(device),
        "backends",
        *_indented(backends),
        "executors",
        *_indented(executors),
        "readings",
        *_indented(readings),
        f"latency table        {found['latency_table']}",
    ]


def _candidates() -> dict[str, Backend]:
    """Each backend as it is without settings, and on a GPU if it can be set to one."""
    found: dict[str, Backend] = {}
    for kind in kinds(Backend):
        part = resolve(Backend, kind)
        found[kind] = part()
        if "device" in part.model_fields:
            found[f"{kind} on cuda"] = part.model_validate({"device": "cuda"})
    return found


def _try(backend: Backend) -> dict[str, Any]:
    """Whether a backend runs a tiny network; else why not, and the mend."""
    network = Architecture((4, 2, 2), (Classifier(classes=2),))
    versions = {name: _version(name) for name in backend.runtimes}
    try:
        backend.check()
        measurement = backend.measure([Workload(network)], _QUICK)[0]
    except UnavailableError as error:
        return {"works": False, "reason": str(error), "versions": versions}
    return {"works": measurement.ok, "reason": measurement.reason, "versions": versions}


def _found(executor: Executor) -> dict[str, Any]:
    """Whether what an executor needs is installed; else the mend."""
    versions = {name: _version(name) for name in executor.runtimes}
    try:
        executor.check()
    except UnavailableError as error:
        return {"works": False, "reason": str(error), "versions": versions}
    return {"works": True, "reason": "", "versions": versions}


def _readings() -> dict[str, str]:
    """What the machine tells of itself while something is measured, or why it does not."""
    watch = Watch()
    with watch.watching():
        meters = {"energy": processor_meter(), "energy of the GPU": gpu_meter()}
    seen = watch.conditions
    return {
        **{name: _meter(meter) for name, meter in meters.items()},
        "frequency": _UNREADABLE if seen.frequency_mhz is None else f"{seen.frequency_mhz:.0f} MHz",
        "temperature": _UNREADABLE if seen.temperature_c is None else f"{seen.temperature_c:.0f} degrees Celsius",
        "throttling": _UNREADABLE if seen.throttled is None else "readable",
    }


def _meter(found: Meter | str) -> str:
    return f"{_UNREADABLE}: {found}" if isinstance(found, str) else "readable"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _verdict(state: dict[str, Any]) -> str:
    """One line on one backend."""
    if state["works"]:
        return "works" + "".join(f", {name} {number}" for name, number in state["versions"].items())
    return f"does not work: {state['reason']}"


def _shown(value: Any) -> str:
    """Nested values on one line."""
    if isinstance(value, list | tuple):
        return ", ".join(" ".join(item) if isinstance(item, list | tuple) else str(item) for item in value)
    return str(value)


def _indented(rows: list[str]) -> list[str]:
    return [f"  {row}" for row in rows]
