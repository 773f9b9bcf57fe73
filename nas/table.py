"""The front as a table for people."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

COLUMNS = ("architecture", "float32", "deployed", "latency ms", "p10-p90", "believed", "MACs", "size", "file")


def front_table(front: list[dict[str, Any]], folder: Path) -> str:
    """One row for each exported architecture, fastest first, and where everything lies."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"Pareto front: {len(front)} models, measured on the exported files")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column in ("architecture", "file") else "right")
    for entry in sorted(front, key=lambda entry: entry["latency_ms"] or 0.0):
        table.add_row(*_cells(entry))
    console = Console(file=io.StringIO(), width=120)
    console.print(table)
    places = {"report": "report.html", "front": "front.json, front.csv", "models": "exports/"}
    lines = [f"{name:<8}{folder}/{place}" for name, place in places.items()]
    return console.file.getvalue() + "\n".join(lines)  # type: ignore[attr-defined]


def _cells(entry: dict[str, Any]) -> list[str]:
    """The cells of one architecture."""

    def percent(share: float | None) -> str:
        return "" if share is None else f"{100 * share:.2f} %"

    deployed = entry["deployed"] or "model.safetensors"
    latency = "failed" if entry["latency_ms"] is None else f"{entry['latency_ms']:.4f}"
    spread = "" if entry["latency_ms"] is None else f"{entry['latency_ms_p10']:.4f}-{entry['latency_ms_p90']:.4f}"
    return [
        entry["id"],
        percent(entry["accuracy_float32"]),
        percent(entry["accuracy_deployed"]),
        latency,
        spread,
        f"{entry['values']['latency_ms']:.4f}",
        f"{entry['macs']:,}",
        f"{entry['bytes'].get(deployed, 0) / 1024:.0f} KiB",
        deployed,
    ]
