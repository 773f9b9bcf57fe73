"""The part of the page on the quality of the shared weights."""

from __future__ import annotations

from typing import Any

from nas.quality import Compared, Ranking
from nas.report.wording import escape, percent


def chart(found: Ranking | None) -> dict[str, list[Any]] | None:
    """Errors in percent, under shared weights over those after training alone; None without a comparison."""
    if found is None:
        return None
    return {
        "x": [100 * one.error_alone for one in found.compared],
        "y": [100 * one.error_shared for one in found.compared],
        "text": [hint(one) for one in found.compared],
    }


def hint(one: Compared) -> str:
    """The hover text of an architecture."""
    errors = f"alone {percent(one.error_alone)}<br>shared weights {percent(one.error_shared)}"
    return f"<b>{escape(one.id)}</b><br>{errors}"


def figure(found: Ranking | None) -> str:
    """The chart's place with its caption; nothing without a comparison."""
    if found is None:
        return ""
    return (
        '<figure><h2>Quality of shared weights</h2><div class="chart" id="quality" role="group" '
        'aria-label="Error under shared weights against error after training alone"></div>'
        f"<figcaption>{escape(caption(found))}</figcaption></figure>"
    )


def caption(found: Ranking) -> str:
    """How well the rankings agree."""
    count, epochs = len(found.compared), found.epochs
    what = (
        f"{count} random architectures on validation data: under the shared weights, and after {epochs} epochs alone."
    )
    if found.kendall_tau is None:
        return f"{what} Too few errors differ to rank them."
    return f"{what} Kendall's tau of the two rankings is {found.kendall_tau:.2f} (p = {found.p_value:.2g})."
