"""The page of a comparison: curves over evaluations, and ranks."""

from __future__ import annotations

from pathlib import Path
from string import Template
from typing import Any

from nas.files import write_atomic
from nas.report.assets import asset
from nas.report.wording import embedded, escape


def write_comparison_page(results: dict[str, Any], path: Path, name: str) -> Path:
    """Writes the page to a file; returns its path.

    Raises:
        OSError: the file cannot be written.
    """
    write_atomic(path, page(results, name))
    return path


def page(results: dict[str, Any], name: str) -> str:
    """The whole page: one HTML file that needs nothing but itself."""
    from plotly.offline import get_plotlyjs

    first = next(iter(results["objectives"]))
    return Template(asset("comparison.html")).substitute(
        title=escape(f"{name} · comparison of strategies"),
        name=escape(name),
        headline=escape(headline(results)),
        lead=escape(lead(results)),
        first=escape(first),
        ranks=rank_table(results),
        style=asset("style.css"),
        plotly=get_plotlyjs(),
        script=asset("comparison.js"),
        data=embedded({"first": first, "competitors": results["competitors"]}),
    )


def headline(results: dict[str, Any]) -> str:
    """Who leads after the most evaluations."""
    last = results["ranks"][-1]
    return f"{last['rows'][0]['name']} leads after {last['evaluations']:,} evaluations"


def lead(results: dict[str, Any]) -> str:
    """What was compared, and who is missing."""
    told = (
        f"{len(results['competitors'])} competitors, {results['seeds']} seeds each, on a table of "
        f"{results['architectures']:,} architectures whose true front has {results['front']:,}."
    )
    missing = ", ".join(results["missing"])
    return f"{told} Not installed: {missing}." if missing else told


def rank_table(results: dict[str, Any]) -> str:
    """For each competitor median hypervolume and mean rank at each number of evaluations."""
    heads = "".join(
        f"<th>{escape(text)}</th>" for at in results["ranks"] for text in (f"at {at['evaluations']:,}", "rank")
    )
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rank_rows(results))
    return f"<table><thead><tr><th>competitor</th>{heads}<th>to 99 %</th></tr></thead><tbody>{rows}</tbody></table>"


def rank_rows(results: dict[str, Any]) -> list[list[str]]:
    """The cells of each competitor, the best at the end first."""
    tables = [{row["name"]: row for row in at["rows"]} for at in results["ranks"]]
    found = []
    for name in tables[-1]:
        cells = [text for at in tables for text in (f"{at[name]['median']:.4f}", f"{at[name]['rank']:.2f}")]
        needed = results["competitors"][name]["evaluations_to_99"]["median"]
        found.append([name, *cells, "never" if needed is None else f"{needed:,.0f}"])
    return found


def rank_lines(results: dict[str, Any]) -> list[str]:
    """The same as aligned text, with a line of headings."""
    heads = ["competitor", *(t for at in results["ranks"] for t in (f"at {at['evaluations']:,}", "rank")), "to 99 %"]
    rows = [heads, *rank_rows(results)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]
    return [*lines, *([f"not installed: {', '.join(results['missing'])}"] if results["missing"] else [])]
