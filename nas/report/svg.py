"""Elements that drawings are made of."""

from __future__ import annotations

from nas.report.wording import escape


def text(x: float, y: float, words: str, style: str) -> str:
    """A line of text with its baseline at `y`."""
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'
