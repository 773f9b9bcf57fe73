"""The front as a table for people."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any


def front_table(front: list[dict[str, Any]], folder: Path) -> str:
    """One row for each exported architecture, fastest first, and where everything lies."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"Pareto front: {len(front)} models, measured on the exported files")
    for column in ("architecture", "test accuracy", "int8 accuracy", "latency ms", "p10-p90", "believed ms", "MACs", "size"):
        table.add_column(column, justify="left" if column == "architecture" else "right")
    for entry in sorted(front, key=lambda entry: entry["latency_ms"] or 0.0):
        table.add_row(*_cells(entry))
    console = Console(file=io.StringIO(), width=120)
    console.print(table)
    places = {"report": "report.html", "front": "front.json, front.csv", "models": "exports/"}
    lines = [f"{name:<8}{folder}/{place}" for name, place in places.items()]
    return console.file.getvalue() + "\n".join(lines)  # type: ignore[attr-defined]


def _cells(entry: dict[str, Any]) -> list[str]:
    """The cells of one architecture."""
    return [str(entry)]
